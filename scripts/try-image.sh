#!/bin/sh
# Builds the images and runs the stack of compose.yaml as docs/deployment.md says, with the container engine of this machine, and looks at what
# runs. Without an engine that answers it starts Debian's (dockerd, as root) on a socket of its own and ends it again. Images of PostgreSQL and
# Redis that are neither here nor to be pulled are made from Debian's packages.
set -eu
cd "$(dirname "$0")/.."
. scripts/engine.sh

export COMPOSE_PROJECT_NAME=nphiesq-try MONITOR_PUBLISH=127.0.0.1:28080 ACTIONS_PUBLISH=127.0.0.1:28081 SIM_PUBLISH=127.0.0.1:28180 SIM_TEAMS_PUBLISH=127.0.0.1:28181
finish() {
	code=$?
	trap - EXIT INT TERM
	if [ $code -ne 0 ]; then docker compose logs --no-color --tail 40 2>/dev/null | cut -c1-240 >&2 || true; fi
	docker compose down --volumes --timeout 5 >/dev/null 2>&1 || true
	engine_end
	exit $code
}
trap finish EXIT
trap 'exit 1' INT TERM

engine
if ! docker compose version >/dev/null 2>&1; then
	say "building Compose"
	mkdir -p "$tmp/docker/cli-plugins"
	GOBIN="$tmp/docker/cli-plugins" go install -ldflags '-X github.com/docker/compose/v2/internal.Version=v2.32.4' github.com/docker/compose/v2/cmd@v2.32.4
	mv "$tmp/docker/cli-plugins/cmd" "$tmp/docker/cli-plugins/docker-compose"
	export DOCKER_CONFIG="$tmp/docker"
fi

if ! have redis:7-bookworm; then
	export REDIS_IMAGE=local/redis:7
	if ! have $REDIS_IMAGE; then
		base=$(debian)
		say "making a Redis image"
		make_image $REDIS_IMAGE <<-EOF
			FROM $base
			RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/* && mkdir /data && chown redis /data
			USER redis
			WORKDIR /data
			VOLUME /data
			CMD ["redis-server"]
		EOF
	fi
fi
if ! have postgres:17-bookworm; then
	export POSTGRES_IMAGE=local/postgres:15
	if ! have $POSTGRES_IMAGE; then
		base=$(debian)
		say "making a PostgreSQL image"
		mkdir -p "$tmp/build"
		cat >"$tmp/build/entry" <<-'EOF'
			#!/bin/sh
			# What the usual image does, in short.
			set -eu
			export PGDATA=/var/lib/postgresql/data
			if [ ! -s $PGDATA/PG_VERSION ]; then
				printf '%s' "$POSTGRES_PASSWORD" >/tmp/pw
				initdb -U postgres --pwfile=/tmp/pw -A scram-sha-256 --auth-local=trust -E UTF8 --locale=C.UTF-8 >/dev/null
				rm /tmp/pw
				echo 'host all all all scram-sha-256' >>$PGDATA/pg_hba.conf
				pg_ctl start -w -o "-c listen_addresses='' -k /tmp" >/dev/null
				export PGHOST=/tmp
				createdb -U postgres "$POSTGRES_DB"
				for f in /docker-entrypoint-initdb.d/*; do
					case $f in
					*.sql) psql -v ON_ERROR_STOP=1 -q -U postgres -d "$POSTGRES_DB" -f "$f" ;;
					*.sh) "$f" ;;
					esac
				done
				pg_ctl stop -w >/dev/null
			fi
			exec postgres -c listen_addresses='*' -k /tmp
		EOF
		chmod 0755 "$tmp/build/entry"
		make_image $POSTGRES_IMAGE <<-EOF
			FROM $base
			RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends postgresql-15 && rm -rf /var/lib/apt/lists/* /var/lib/postgresql && install -d -o postgres -m 0700 /var/lib/postgresql/data
			COPY entry /entry
			ENV PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin
			USER postgres
			VOLUME /var/lib/postgresql/data
			ENTRYPOINT ["/entry"]
		EOF
	fi
fi

say "the commands of docs/deployment.md"
scripts/doc-blocks.sh docs/deployment.md "One host with Docker Compose" >"$tmp/commands"
# All but the last block, which ends it.
grep -v -E '^docker compose (stop|down)' "$tmp/commands" >"$tmp/up"
sh -eux "$tmp/up" >"$tmp/out" || die "a command of docs/deployment.md failed"
cat "$tmp/out"
grep -q "approved" "$tmp/out" || die "no claim was approved"

say "what runs"
look() { docker inspect -f "$2" "$1"; }
c=$(docker compose ps -q redis)
got=$(look "$c" '{{.Config.User}} dropped={{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}')
[ "$got" = 'redis dropped=[ALL] [no-new-privileges:true]' ] || die "redis: $got"
grep -q '^CapBnd:.*0000000000000000$' "/proc/$(look "$c" '{{.State.Pid}}')/status" || die "redis has capabilities"
for s in worker monitor; do
	c=$(docker compose ps -q $s)
	got=$(look "$c" '{{.Config.User}} readonly={{.HostConfig.ReadonlyRootfs}} dropped={{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} health={{.State.Health.Status}}')
	want='65532:65532 readonly=true dropped=[ALL] [no-new-privileges:true] health=healthy'
	[ "$got" = "$want" ] || die "$s: $got; want $want"
	echo "$s: $got"
	pid=$(look "$c" '{{.State.Pid}}')
	grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):' "/proc/$pid/status" | tr '\t\n' '  ' && echo
done
case $(look "$(docker compose ps -q worker)" '{{.HostConfig.Binds}}{{.Mounts}}') in *[a-z]*) die "the worker has a volume" ;; esac
for p in sh bash ls nphiessim; do
	if docker run --rm --entrypoint $p nphiesq:latest >/dev/null 2>&1; then die "the image has $p"; fi
done
say "bad news reaches the health check: PostgreSQL stops"
docker compose stop -t 5 postgres >/dev/null 2>&1
if docker compose exec worker worker health; then die "the worker says it is well without PostgreSQL"; fi
docker compose exec worker worker health --live
docker compose start postgres >/dev/null 2>&1
n=0
until docker compose exec worker worker health 2>/dev/null; do
	n=$((n + 1))
	[ $n -lt 30 ] || die "the worker does not come back"
	sleep 1
done

say "a stop lets it finish"
worker=$(docker compose ps -q worker)
start=$(date +%s)
grep -E '^docker compose (stop|down)' "$tmp/commands" | head -1 | sh -eux
[ "$(look "$worker" '{{.State.ExitCode}}')" = 0 ] || die "the worker ended with $(look "$worker" '{{.State.ExitCode}}')"
echo "stopped in $(($(date +%s) - start)) s, exit status 0"
grep -E '^docker compose down' "$tmp/commands" | sh -eux
say "a real installation: refused until all is said, then two workers"
export COMPOSE_FILE=compose.yaml:deploy/compose/real.yaml
passwords="POSTGRES_PASSWORD POSTGRES_OWNER_PASSWORD POSTGRES_APP_PASSWORD POSTGRES_READ_PASSWORD POSTGRES_GRAFANA_PASSWORD REDIS_WORKER_PASSWORD REDIS_MONITOR_PASSWORD REDIS_OPERATOR_PASSWORD GRAFANA_PASSWORD"
printf '%s\n' NPHIES_BASE_URL=https://nphies.invalid NPHIES_PROVIDER_LICENSE=10000000000001 MONITOR_URL=https://monitor.example \
	"$(grep ^MONITOR_USERS deploy/compose/demo.env)" TEAMS_WEBHOOK_SRE=https://prod-01.westeurope.logic.azure.com/workflows/a/triggers/manual/paths/invoke >"$tmp/real.env"
for p in $passwords NPHIESQ_ENV_FILE; do
	if docker compose config >/dev/null 2>"$tmp/refused"; then die "Compose takes a real installation without $p"; fi
	case $p in NPHIESQ_ENV_FILE) export NPHIESQ_ENV_FILE="$tmp/real.env" ;; *) export "$p=$(openssl rand -hex 24)" ;; esac
done
cat "$tmp/refused"
docker compose config >"$tmp/config" || die "Compose refuses a real installation for which all is said"
if grep only-for-trying "$tmp/config"; then die "something is left that is only for trying"; fi
docker compose up -d --wait --scale worker=2 >/dev/null 2>"$tmp/real.log" || die "a real installation does not come up: $(tail -3 "$tmp/real.log")"
for i in 1 2; do docker compose exec --index $i worker worker health; done
docker compose down --volumes --timeout 5 >/dev/null 2>&1
docker image ls --format '{{.Repository}}:{{.Tag}} {{.Size}}' nphiesq
say "all of it worked"
