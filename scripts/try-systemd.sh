#!/bin/sh
# Follows docs/deployment.md, section "Debian with systemd", word for word on a clean Debian with systemd as its first process (a container), and looks
# at what runs. The engine is that of scripts/engine.sh.
set -eu
cd "$(dirname "$0")/.."
. scripts/engine.sh
name=nphiesq-try-systemd
finish() {
	code=$?
	trap - EXIT INT TERM
	if [ $code -ne 0 ]; then docker exec $name journalctl --no-pager -n 40 2>/dev/null | cut -c1-260 >&2 || true; fi
	docker rm -f $name >/dev/null 2>&1 || true
	engine_end
	exit $code
}
trap finish EXIT
trap 'exit 1' INT TERM

rm -f dist/*.deb
make deb >"$tmp/deb.log" 2>&1 || die "make deb: $(tail -5 "$tmp/deb.log")"
engine
image=local/systemd:bookworm
if ! have $image; then
	base=$(debian)
	say "making an image with systemd" # which needs shared mounts to hand credentials to services
	make_image $image <<-EOF
		FROM $base
		RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends systemd systemd-sysv && rm -rf /var/lib/apt/lists/*
		STOPSIGNAL SIGRTMIN+3
		CMD ["sh", "-c", "mount --make-rshared / && exec /sbin/init"]
	EOF
fi
docker rm -f $name >/dev/null 2>&1 || true
# Not --privileged, which asks for more than every machine has: units mount, and systemd looks at their user namespaces.
docker run -d --name $name --cap-add SYS_ADMIN --cap-add SYS_PTRACE --security-opt seccomp=unconfined --security-opt apparmor=unconfined --cgroupns=host --tmpfs /run --tmpfs /run/lock \
	-v /sys/fs/cgroup:/sys/fs/cgroup:rw $image >/dev/null
inside() { docker exec -i -w /root -e DEBIAN_FRONTEND=noninteractive $name "$@"; }
n=0
until [ "$(inside systemctl is-system-running 2>/dev/null)" = running ]; do
	n=$((n + 1))
	[ $n -lt 60 ] || die "systemd does not come up: $(inside systemctl list-units --failed --no-pager --no-legend)"
	sleep 0.5
done
say "$(inside cat /proc/1/comm), $(inside systemctl --version | head -1), Debian $(inside cat /etc/debian_version)"
printf '%s\n' '[Service]' 'Type=oneshot' 'PrivateUsers=yes' 'ProtectProc=invisible' 'ExecStart=/bin/true' | inside sh -c 'cat >/run/systemd/system/probe.service && systemctl daemon-reload'
if ! inside systemctl start probe 2>/dev/null; then
	inside systemctl reset-failed
	say "systemd cannot make user namespaces in this container: PrivateUsers= is off in this run, for all units"
	inside sh -c 'mkdir -p /etc/systemd/system/service.d && printf "[Service]\nPrivateUsers=no\n" >/etc/systemd/system/service.d/no-user-namespaces.conf && systemctl daemon-reload'
fi
for deb in dist/*.deb; do docker cp -q "$deb" $name:/root/ 2>/dev/null || docker cp "$deb" $name:/root/; done

say "the commands of docs/deployment.md"
scripts/doc-blocks.sh docs/deployment.md "Debian with systemd" >"$tmp/commands"
inside sh -eux <"$tmp/commands" >"$tmp/out" 2>"$tmp/err" || { tail -20 "$tmp/err" >&2; die "a command of docs/deployment.md failed"; }
grep -E '(queued|approved)' "$tmp/out" || die "no claim in what they printed: $(tail -5 "$tmp/out")"
grep -q "	approved" "$tmp/out" || die "no claim was approved"

say "what runs"
for u in nphiesq-worker nphiesq-monitor nphiesq-worker@teams; do
	[ "$(inside systemctl is-active $u)" = active ] || die "$u is not active"
	[ "$(inside systemctl is-enabled $u)" = enabled ] || die "$u is not enabled"
	pid=$(inside systemctl show -p MainPID --value $u)
	now=$(inside sh -c "stat -c %U /proc/$pid; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/$pid/status" | tr '\t\n' '  ')
	[ "$now" = "nphiesq CapEff: 0000000000000000 CapBnd: 0000000000000000 NoNewPrivs: 1 Seccomp: 2 " ] || die "$u: $now"
	echo "$u: $now exposure $(inside systemd-analyze security --no-pager "$u.service" | sed -n 's/.*Overall exposure level for [^:]*: //p')"
done
[ "$(inside systemctl show -p Result --value nphiesq-migrate)" = success ] || die "nphiesq-migrate failed"
inside systemd-analyze verify nphiesq-worker.service nphiesq-worker@teams.service nphiesq-monitor.service nphiesq-migrate.service nphiessim.service
inside sh -c 'stat -c "%A %U:%G %n" /etc/nphiesq /etc/nphiesq/*'
inside sh -eu <<'END'
test "$(stat -c %a:%U:%G /etc/nphiesq/migrate.env /etc/nphiesq/nphiesq.env /etc/nphiesq/worker-teams.env | tr '\n' ' ')" = "600:root:root 640:root:nphiesq 640:root:nphiesq " || { echo "wrong rights" >&2; exit 1; }
useradd -m -G nphiesq amal && useradd -m sara
runuser -u amal -- nphiesq-enqueue list >/dev/null
if runuser -u sara -- nphiesq-enqueue list 2>/dev/null; then echo "somebody outside the group reads claims" >&2; exit 1; fi
# A secret as a credential, as the last block of the section has it.
mkdir /etc/systemd/system/nphiesq-monitor.service.d
sed -n 's/^DATABASE_URL=//p' /etc/nphiesq/nphiesq.env >/etc/nphiesq/DATABASE_URL
chmod 0600 /etc/nphiesq/DATABASE_URL
printf '%s\n' '[Service]' 'UnsetEnvironment=DATABASE_URL' 'LoadCredential=DATABASE_URL:/etc/nphiesq/DATABASE_URL' >/etc/systemd/system/nphiesq-monitor.service.d/credentials.conf
systemctl daemon-reload
systemctl restart nphiesq-monitor
timeout 60 sh -c 'until nphiesq-monitor health 2>/dev/null; do sleep 1; done'
if tr '\0' '\n' <"/proc/$(systemctl show -p MainPID --value nphiesq-monitor)/environ" | grep -q ^DATABASE_URL; then echo "DATABASE_URL is in the environment" >&2; exit 1; fi
# A monitor that dies comes back by itself.
kill -9 "$(systemctl show -p MainPID --value nphiesq-monitor)"
END
n=0
until inside nphiesq-monitor health 2>/dev/null; do
	n=$((n + 1))
	[ $n -lt 30 ] || die "the monitor does not come back after kill -9"
	sleep 1
done
echo "the monitor came back after kill -9"
# shellcheck disable=SC2016 # it is for the shell inside
if inside sh -c 'grep -rl "$(sed -n "s/.*nphiesq_app:\([^@]*\)@.*/\1/p" /etc/nphiesq/nphiesq.env)" /var/log/journal /run/log 2>/dev/null'; then die "the password is in the journal"; fi

say "an upgrade to a package with other defaults, unattended: no question, settings stay, nothing is restarted"
inside sh -eu <<'END' || die "the upgrade went wrong"
state() { sha256sum /etc/nphiesq/*; systemctl show -p MainPID nphiesq-worker nphiesq-monitor; }
state >/tmp/before
before=$(dpkg-query -W -f '${Version}' nphiesq)
dpkg-deb -R /root/nphiesq_*.deb /tmp/next
sed -i "s/^Version: .*/&.next/" /tmp/next/DEBIAN/control
sed -i '/^$/d' /tmp/next/DEBIAN/conffiles # which says nothing, and dpkg-deb does not take that
for f in $(find /tmp/next/usr/share/nphiesq /tmp/next/etc /tmp/next/usr/lib/systemd -type f \( -name '*.env' -o -name '*.conf' -o -name '*.service' \) 2>/dev/null); do echo '# another default' >>"$f"; done
grep -q 'another default' /tmp/next/usr/share/nphiesq/nphiesq.env
dpkg-deb -b /tmp/next /root/next.deb >/dev/null
apt-get install -y /root/next.deb </dev/null >/tmp/upgrade.log 2>&1 || { tail -5 /tmp/upgrade.log >&2; exit 1; }
test "$(dpkg-query -W -f '${Version}' nphiesq)" = "$before.next"
state | diff /tmp/before -
systemctl start nphiesq-migrate
systemctl restart nphiesq-worker nphiesq-monitor
timeout 60 sh -c 'until nphiesq-worker health 2>/dev/null && nphiesq-monitor health 2>/dev/null; do sleep 1; done'
nphiesq-enqueue submit --wait /usr/share/nphiesq/examples/claims/02-pharmacy-approved.json
END

say "a stop lets it finish, removal stops all"
start=$(date +%s)
inside systemctl stop nphiesq-worker
[ "$(inside systemctl show -p Result --value nphiesq-worker)/$(inside systemctl show -p ExecMainStatus --value nphiesq-worker)" = success/0 ] || die "the worker did not end well"
echo "stopped in $(($(date +%s) - start)) s"
# shellcheck disable=SC2016 # it is for the shell inside
running() { inside sh -c 'for exe in /proc/[0-9]*/exe; do readlink "$exe" || true; done | grep -c "^/usr/lib/nphiesq/bin/" || true'; }
[ "$(running)" -ge 3 ] || die "the look at what runs does not see the monitor, the worker for Teams and the simulator"
inside apt-get remove -y nphiesq nphiessim >"$tmp/remove.log" 2>&1 || die "removal: $(tail -3 "$tmp/remove.log")"
[ "$(running)" = 0 ] || die "something still runs after the removal"
for u in nphiesq-worker nphiesq-monitor nphiesq-worker@teams nphiessim; do
	if inside sh -c "ls /etc/systemd/system/*.wants/$u.service" >/dev/null 2>&1; then die "$u is still enabled after the removal"; fi
done
inside test -e /etc/nphiesq/nphiesq.env || die "the removal took the settings"
inside apt-get purge -y nphiesq >"$tmp/purge.log" 2>&1 || die "purge: $(tail -3 "$tmp/purge.log")"
if inside test -e /etc/nphiesq; then die "the purge left /etc/nphiesq"; fi
[ "$(inside systemctl list-units --failed --no-legend | grep -c nphies)" = 0 ] || die "failed units: $(inside systemctl list-units --failed --no-legend)"
say "all of it worked"
