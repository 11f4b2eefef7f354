# make help lists the targets.
SHELL   := /bin/sh
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
# The date of the commit, in seconds since 1970: the same source makes the same bytes whenever it is built.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH
DATE    ?= $(shell date -u -d @$(SOURCE_DATE_EPOCH) +%Y-%m-%dT%H:%M:%SZ 2>/dev/null || date -u -r $(SOURCE_DATE_EPOCH) +%Y-%m-%dT%H:%M:%SZ)
BUILD   := github.com/claimlinc/nphiesq/internal/build
LDFLAGS := -s -w -X $(BUILD).version=$(VERSION) -X $(BUILD).commit=$(COMMIT) -X $(BUILD).date=$(DATE)
LINT    := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
FUZZ    ?= 3000x
ARGS    ?=
TESTFLAGS ?=
PACKAGES ?= ./...
# They only compute, in one goroutine: the race detector finds nothing there and makes them ten times slower.
PURE    := /(cards|internal/conformance)$$

.DEFAULT_GOAL := help

# The folders whose tests have functions of a kind: to ask go for them would link every test program.
with = $(shell grep -rl --include='*_test.go' '^func $(1)' . | xargs -n1 dirname | sort -u)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## put the programs in bin/
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/worker ./cmd/enqueue ./cmd/monitor ./cmd/nphiessim ./cmd/demo

# What is shipped: for Linux, whoever builds it.
ARCH    ?= $(shell go env GOARCH)
SHIPPED := worker enqueue monitor nphiessim
IMAGE   ?= nphiesq
DOCKER  ?= docker
# Without a C compiler, whether there is one or not.
SBOMS   := CGO_ENABLED=0 go run -trimpath github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
NFPM    := go run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.0
CERTS   ?= /etc/ssl/certs/ca-certificates.crt
CERTS_COPYRIGHT := /usr/share/doc/ca-certificates/copyright

dist/bin: FORCE
	CGO_ENABLED=0 GOOS=linux GOARCH=$(ARCH) go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o dist/bin/ $(SHIPPED:%=./cmd/%)

licenses: ## docs/dependencies.md and the texts, dist/THIRD_PARTY_LICENSES; fails on a licence that is not allowed
	@mkdir -p dist
	go -C deploy/check run ./licenses -table ../../docs/dependencies.md -texts ../../dist/THIRD_PARTY_LICENSES

sbom: dist/bin ## what each shipped program is made of: dist/sbom/*.cdx.json (CycloneDX)
	@mkdir -p dist/sbom
	for p in $(SHIPPED); do \
		$(SBOMS) bin -json -std -version $(VERSION) -noserial -notimestamp -output dist/sbom/$$p.cdx.json.new dist/bin/$$p || exit 1; \
		sed '/^    "tools": \[$$/,/^    \],$$/{/^        "hashes": \[$$/,/^        \],$$/d;}' dist/sbom/$$p.cdx.json.new >dist/sbom/$$p.cdx.json || exit 1; \
		rm dist/sbom/$$p.cdx.json.new; \
	done # without the hashes of the tool, which depend on who built it

# Folders that are shipped as they are, with the same rights whatever the umask of who checked them out. Without Go sources: ./... would take them for ours.
dist/share: FORCE
	rm -rf $@ && mkdir -p $@ && cp -R examples docs deploy $@/ && rm -rf $@/deploy/check && find $@ -name '*.go' -delete && chmod -R u=rwX,go=rX $@

image: dist/bin dist/share licenses sbom ## the container images nphiesq:VERSION and, with the simulator, nphiesq:demo
	@test -f $(CERTS) || { echo "image: no $(CERTS): install ca-certificates, or name another file with CERTS=" >&2; exit 1; }
	rm -rf dist/image
	for p in worker enqueue monitor; do install -D -m 0755 dist/bin/$$p dist/image/rootfs/usr/local/bin/$$p || exit 1; done
	install -D -m 0755 dist/bin/nphiessim dist/image/demo/usr/local/bin/nphiessim
	install -D -m 0644 $(CERTS) dist/image/rootfs/etc/ssl/certs/ca-certificates.crt
	install -D -m 0644 -t dist/image/rootfs/usr/share/doc/nphiesq LICENSE dist/THIRD_PARTY_LICENSES dist/sbom/worker.cdx.json dist/sbom/enqueue.cdx.json dist/sbom/monitor.cdx.json
	test ! -f $(CERTS_COPYRIGHT) || install -m 0644 $(CERTS_COPYRIGHT) dist/image/rootfs/usr/share/doc/nphiesq/ca-certificates.copyright
	install -d -m 0755 dist/image/demo/usr/share/nphiesq && cp -R dist/share/examples dist/image/demo/usr/share/nphiesq/
	chmod -R u=rwX,go=rX dist/image
	for t in production:$(VERSION) production:latest demo:demo; do \
		$(DOCKER) build -q -f Dockerfile --platform linux/$(ARCH) --target $${t%:*} -t $(IMAGE):$${t#*:} \
			--label org.opencontainers.image.title=nphiesq --label org.opencontainers.image.licenses=Apache-2.0 --label org.opencontainers.image.version=$(VERSION) \
			--label org.opencontainers.image.revision=$(COMMIT) --label org.opencontainers.image.created=$(DATE) dist/image || exit 1; \
	done

DEB_VERSION := $(shell scripts/version.sh deb '$(VERSION)' $(SOURCE_DATE_EPOCH))
CHART_VERSION := $(shell scripts/version.sh chart '$(VERSION)' $(SOURCE_DATE_EPOCH))
export ARCH DEB_VERSION

deb: dist/bin dist/share licenses sbom ## Debian packages of the programs and of the simulator in dist/
	for p in nphiesq nphiessim; do $(NFPM) package -f deploy/deb/$$p.yaml -p deb -t dist/ || exit 1; done

# The chart of a release names it and its image.
stamp = sed -i -E 's/^appVersion:.*/appVersion: "$(VERSION)"/; s/^version:.*/version: $(CHART_VERSION)/' $(1)/Chart.yaml

dist: deb ## all that a release has in dist/release: archive, packages, chart, SBOM, licences, SHA256SUMS
	rm -rf dist/release dist/nphiesq-$(VERSION) && mkdir -p dist/release dist/nphiesq-$(VERSION)/bin
	cp $(SHIPPED:%=dist/bin/%) dist/nphiesq-$(VERSION)/bin/
	cp -R LICENSE README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md Dockerfile compose.yaml compose.override.yaml .env.example docs examples deploy dist/THIRD_PARTY_LICENSES dist/sbom dist/nphiesq-$(VERSION)/
	rm -rf dist/nphiesq-$(VERSION)/deploy/check
	$(call stamp,dist/nphiesq-$(VERSION)/deploy/helm/nphiesq)
	tar -C dist --sort=name --mode=u=rwX,go=rX --mtime=@$(SOURCE_DATE_EPOCH) --owner=0 --group=0 --numeric-owner -c nphiesq-$(VERSION) | gzip -n >dist/release/nphiesq-$(VERSION)-linux-$(ARCH).tar.gz
	cp dist/nphiesq_$(DEB_VERSION)_$(ARCH).deb dist/nphiessim_$(DEB_VERSION)_$(ARCH).deb dist/THIRD_PARTY_LICENSES dist/release/
	for p in $(SHIPPED); do cp dist/sbom/$$p.cdx.json dist/release/$$p-$(VERSION).cdx.json || exit 1; done
	rm -rf dist/nphiesq-$(VERSION) dist/chart && mkdir -p dist/chart && cp -R deploy/helm/nphiesq dist/chart/
	$(call stamp,dist/chart/nphiesq)
	tar -C dist/chart --sort=name --mode=u=rwX,go=rX --mtime=@$(SOURCE_DATE_EPOCH) --owner=0 --group=0 --numeric-owner --exclude=ci -c nphiesq | gzip -n >dist/release/nphiesq-chart-$(CHART_VERSION).tgz
	rm -rf dist/chart
	cd dist/release && sha256sum * >../SHA256SUMS && mv ../SHA256SUMS .

demo: build ## run everything on this machine; ARGS="--once --report out.json" ends by itself
	@bin/demo $(ARGS)

deps: ## install the servers and the browser that the tests drive (Debian as root), or name them
	@scripts/deps.sh

gcc: # the race detector needs one
	@scripts/deps.sh gcc

test: deps ## everything that proves it works, on real servers
	go test -timeout 9m $(TESTFLAGS) $(PACKAGES)

check: gcc generated lint vet vaultdev deploy-check reproducible-programs ## what CI runs
	TEST_VAULT_REQUIRED=1 $(MAKE) test TESTFLAGS='-race -shuffle=on' PACKAGES="$$(go list ./... | grep -v -E '$(PURE)' | tr '\n' ' ')"
	$(MAKE) test TESTFLAGS=-shuffle=on PACKAGES="$$(go list ./... | grep -E '$(PURE)' | tr '\n' ' ')"
	$(MAKE) rules-check cards-check fuzz bench-once

cards: ## the gallery in docs/cards: every golden card as a picture, by the reference renderer (fetched with npm)
	@scripts/deps.sh chromium npm
	go run ./internal/gallery

cards-check: ## every golden card through the reference renderer, if npm is there
	go run ./internal/gallery -check

rules-check: ## alert rules with their cases, examples for Prometheus and Alertmanager, dashboards
	@scripts/deps.sh prometheus alertmanager
	promtool check rules deploy/prometheus/rules/*.yml
	promtool test rules deploy/prometheus/tests/*.yml
	promtool check config deploy/prometheus/prometheus.yml
	amtool check-config deploy/prometheus/alertmanager.yml
	go -C deploy/check test -count=1 ./observe

vaultdev: ## a real Vault for the tests, in bin/ (minutes the first time, then cached)
	@scripts/vaultdev.sh

generate: ## write the files that are made from code
	go generate ./...
	go -C deploy/check generate ./...

# What of the chart is made.
MADE := deploy/helm/nphiesq/README.md deploy/helm/nphiesq/values.schema.json deploy/helm/nphiesq/files

generated: generate ## generate, and no difference
	@git diff --exit-code -- .env.example docs deploy/grafana $(MADE) && test -z "$$(git ls-files --others --exclude-standard $(MADE))" || { echo "run make generate and commit the result" >&2; exit 1; }

deploy-check: ## what deploy/ holds: chart, compose file, units; scripts
	@scripts/deps.sh systemd shellcheck
	shellcheck -x -P SCRIPTDIR scripts/*.sh deploy/systemd/run deploy/deb/p* deploy/compose/*.sh
	go -C deploy/check vet ./...
	go -C deploy/check test -count=1 ./... # what it reads lies outside its module: go would not notice a change

reproducible: ## the same source makes the same bytes, programs, SBOMs and packages; ARGS=--cold with an empty cache
	@VERSION=$(VERSION) COMMIT=$(COMMIT) scripts/reproducible.sh $(filter --cold,$(ARGS))

reproducible-programs: ## the same for the programs alone (part of check)
	@VERSION=$(VERSION) COMMIT=$(COMMIT) scripts/reproducible.sh --programs

vuln: ## known vulnerabilities in what the programs use (govulncheck; asks vuln.go.dev, so not in CI)
	go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...

try-image: ## builds the images and runs the compose stack as docs/deployment.md says
	scripts/try-image.sh

try-systemd: ## follows docs/deployment.md on a clean Debian with systemd
	scripts/try-systemd.sh

lint: ## golangci-lint
	$(LINT) run

vet:
	go vet ./...

fuzz: ## each fuzz target for FUZZ (3000x; or a time: 60s)
	@for p in $(call with,Fuzz); do \
		for f in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$p/*_test.go); do \
			echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZ) -fuzzminimizetime 10x $$p || exit 1; \
		done; \
	done

bench: ## benchmarks
	go test -run '^$$' -bench . -benchmem $(call with,Benchmark)

bench-once:
	go test -run '^$$' -bench . -benchtime 1x $(call with,Benchmark)

drill: drill-programs ## fault drills on real servers; ARGS="--only redis-flushed --seed 7", "--short", "--prove", "--list"
	@bin/drill/drill $(ARGS)

drill-programs:
	go build -trimpath -tags drill -ldflags '$(LDFLAGS)' -o bin/drill/ ./cmd/worker ./cmd/enqueue ./cmd/drill

schema: ## after a new migration: its checksum and the schema for review
	go test ./migrations -run 'TestUpDownUp|TestLanded' -update

new-migration: ## make new-migration NAME=add_something
	@test -n "$(NAME)" || { echo "NAME is missing: make new-migration NAME=add_something" >&2; exit 2; }
	@f=migrations/$$(date -u +%Y%m%d%H%M%S)_$(NAME).sql; printf -- '-- +goose Up\n\n-- +goose Down\n' > $$f; echo $$f

clean: ## remove what was made
	rm -rf bin dist

FORCE: ;

.PHONY: FORCE gcc deploy-check reproducible reproducible-programs vuln try-image try-systemd licenses sbom image deb dist help build cards cards-check rules-check demo drill drill-programs deps test check vaultdev generate generated lint vet fuzz bench bench-once schema new-migration clean
