#!/bin/sh
# Gets what the virtual machines boot that cannot be installed on the host: an arm64
# kernel and programs for machines of that architecture, and Debian's full amd64
# kernel, for the cloud kernel has drivers of virtual network cards only. The packages
# are unpacked, never installed, and apt works in a directory of its own with the
# host's sources and keys: the host's package system is not touched, and root is not
# needed.
#
# They go below pxekit-vm/foreign in the user's cache directory, where the tests look.
# What is there already is kept; remove that directory to get newer packages.
set -eu

cache=${XDG_CACHE_HOME:-$HOME/.cache}/pxekit-vm
foreign=$cache/foreign

# Architecture and package; of a package that only names the current kernel ("@") the
# one that it depends on.
packages='arm64 @linux-image-cloud-arm64
arm64 busybox-static
arm64 klibc-utils
arm64 libklibc
arm64 grub-efi-arm64-bin
amd64 @linux-image-amd64'

if [ "$(cat "$foreign/packages" 2>/dev/null)" = "$packages" ]; then
	exit 0
fi

for program in apt-get apt-cache dpkg-deb depmod tar timeout; do
	command -v "$program" >/dev/null || {
		echo "foreign.sh: no $program: this needs Debian or a relative, with kmod installed" >&2
		exit 1
	}
done

mkdir -p "$cache"
work=$(mktemp -d "$cache/building-foreign-XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# apt ARCH PROGRAM ARG... calls one of apt's programs for an architecture.
apt() {
	arch=$1 program=$2 state=$work/apt-$1
	shift 2
	mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
	: >>"$state/status"
	timeout 600 "$program" -q -q \
		-o "APT::Architecture=$arch" -o "APT::Architectures=$arch" -o APT::Sandbox::User=root \
		-o "Dir::State=$state" -o "Dir::State::status=$state/status" -o "Dir::Cache=$state/cache" \
		-o Acquire::Languages=none -o Acquire::Retries=3 -o Acquire::http::Timeout=60 "$@"
}

# unpack ARCH PACKAGE downloads a package and unpacks it into the directory of its
# architecture. What of a kernel's modules no test could want is most of their size.
unpack() {
	rm -rf "$work/download"
	mkdir -p "$work/download" "$work/done/$1"
	(cd "$work/download" && apt "$1" apt-get download "$2") || {
		echo "foreign.sh: $2 of $1 cannot be downloaded: see what apt says above" >&2
		exit 1
	}
	dpkg-deb --fsys-tarfile "$work"/download/*.deb | tar -x -C "$work/done/$1" \
		--exclude='*/kernel/sound' --exclude='*/drivers/gpu' --exclude='*/drivers/media' \
		--exclude='*/drivers/net/wireless' --exclude='*/drivers/infiniband' \
		--exclude='*/drivers/staging' --exclude='*/drivers/iio' --exclude='./usr/share/*'
}

for arch in arm64 amd64; do
	apt "$arch" apt-get update || {
		echo "foreign.sh: no package lists of $arch: see what apt says above" >&2
		exit 1
	}
done
echo "$packages" >"$work/list"
while read -r arch package; do
	case $package in
	@*)
		package=$(apt "$arch" apt-cache depends "${package#@}" | sed -n 's/^ *Depends: \(linux-image-[0-9][^ :]*\).*/\1/p' | head -n 1)
		[ -n "$package" ] || {
			echo "foreign.sh: the current kernel of $arch is not known: see what apt says above" >&2
			exit 1
		}
		unpack "$arch" "$package"
		depmod -b "$work/done/$arch" "${package#linux-image-}"
		;;
	*) unpack "$arch" "$package" ;;
	esac
done <"$work/list"

echo "$packages" >"$work/done/packages"
rm -rf "$foreign"
mv "$work/done" "$foreign"
