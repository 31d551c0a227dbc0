# The commands people and CI type. `make test` is the whole truth; `go test
# -short ./...` is the fast inner loop (no virtual machines).

GO          ?= go
N           ?= 5
STATICCHECK  = honnef.co/go/tools/cmd/staticcheck@v0.8.2
TESTTIMEOUT ?= 60m

# Debian packages of the tests that talk to real clients and servers, and of the
# virtual machines: what runs them, what they boot, Debian's own live systems.
PACKAGES = gcc libc6-dev curl strace iproute2 kmod procps xz-utils zstd \
	qemu-system-x86 ovmf ipxe ipxe-qemu pxelinux syslinux-common \
	linux-image-cloud-amd64 busybox-static squashfs-tools xorriso \
	libarchive-tools cpio klibc-utils \
	nbdkit libnbd-bin qemu-utils fio nbd-client \
	nfs-ganesha nfs-ganesha-vfs rpcbind nfs-common \
	initramfs-tools live-boot live-boot-initramfs-tools \
	dracut-core dracut-network dracut-live isc-dhcp-client systemd udev \
	dnsmasq-base isc-dhcp-relay nftables tshark \
	qemu-system-arm qemu-efi-aarch64 ovmf-ia32 u-boot-qemu \
	shim-signed grub-common grub-efi-amd64-bin grub-efi-ia32-bin grub-efi-amd64-signed

.PHONY: help deps test short lint cross fuzz soak bench

help: ## show this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile

deps: ## install the Debian packages of the virtual-machine tests (root)
	@missing=; for p in $(PACKAGES); do \
		dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; \
	done; \
	if [ -n "$$missing" ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
	@sh internal/vm/foreign.sh # and what the ARM64 machine is made of

test: lint cross ## everything: linters, every test with -race, each VM boot once
	$(GO) test -race -shuffle=on -timeout $(TESTTIMEOUT) $$($(GO) list ./... | grep -v /internal/vm)
	GO=$(GO) ARGS="-test.shuffle=on -test.timeout=$(TESTTIMEOUT)" sh internal/vm/test.sh

short: ## the fast inner loop: no virtual machines
	$(GO) test -short ./...

lint: ## gofmt, vet and staticcheck
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt -w $$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) mod tidy -diff
	$(GO) run $(STATICCHECK) ./...

cross: ## compile and vet for every supported system
	@for target in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64; do \
		echo "cross $$target"; \
		GOOS=$${target%/*} GOARCH=$${target#*/} CGO_ENABLED=0 $(GO) build ./... || exit 1; \
	done
	GOOS=darwin GOARCH=arm64 $(GO) vet ./...
	GOOS=windows GOARCH=amd64 $(GO) vet ./...

soak: ## the virtual-machine boots N times each (N=5); prints how many passed
	@N=$(N) GO=$(GO) sh internal/vm/soak.sh

# The peers are of Debian's nbdkit, nbd-server, qemu-utils, libnbd-bin, fio,
# nginx-light, kea-dhcp4-server, kea-admin (perfdhcp) and dnsmasq-base; what is
# not installed is left out and the table says so.
bench: ## figures beside the peers' into docs/bench.md; ROWS=nbd: only those; N=5 rounds; PROFILE=cpu.pprof
	@program=$$(mktemp) && trap 'rm -f "$$program"' EXIT && $(GO) build -o "$$program" ./internal/bench && \
		"$$program" -n $(N) -rows "$(ROWS)" -profile "$(PROFILE)"

FUZZTIME ?= 10000000x
fuzz: ## every fuzz target for FUZZTIME (10 million executions; takes hours)
	@grep -rE --include=*_test.go '^func Fuzz[A-Za-z0-9_]+\(' . | \
		sed -E 's#^(.*)/[^/]*:func (Fuzz[A-Za-z0-9_]+).*#\1 \2#' | sort -u | \
		while read -r dir target; do \
			echo "$$dir $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$dir" </dev/null || exit 1; \
		done
