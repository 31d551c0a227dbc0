#!/bin/sh
# Goes on for rootinit.sh when Debian's own live-boot or dracut has mounted the root
# file system. It says on the console:
#
#   PXEKIT cmdline ...               the kernel's command line
#   PXEKIT root-fs TYPE SOURCE       what is mounted on /; then "on" and the device that the
#                                    squashfs is on, or "loop" and the file behind it, if
#                                    one is mounted; then "from" and the NFS export, if
#                                    one is mounted
#   PXEKIT root-content ok SHA256    every file was read and is what it should be; SHA256
#                                    is that of the list of files
#   PXEKIT os-ip ADDRESS             the address that the initramfs left
#   PXEKIT up                        from here on only:
#   PXEKIT read-again N              every file was read once more, not from a cache
#   PXEKIT failed STAGE REASON       the end

export PATH=/bin

say() { echo "PXEKIT $*" >/dev/console; }

fail() {
	say "failed $*"
	while :; do sleep 3600; done
}

check_content() {
	echo 3 >/proc/sys/vm/drop_caches
	(cd / && sha256sum -c -s /content.sha256) || fail content "a file of /content.sha256 differs"
}

say "cmdline $(cat /proc/cmdline)"
# The last one mounted on / is the one that is seen.
root=$(awk '$2 == "/" { s = $3 " " $1 } END { print s }' /proc/mounts)
device=$(awk '$3 == "squashfs" { print $1; exit }' /proc/mounts)
backing=/sys/block/${device##*/}/loop/backing_file
if [ -e "$backing" ]; then
	device="loop $(cat "$backing")"
fi
export=$(awk '$3 ~ /^nfs/ { print $1; exit }' /proc/mounts)
say "root-fs $root${device:+ on $device}${export:+ from $export}"
check_content
say "root-content ok $(sha256sum </content.sha256 | cut -d' ' -f1)"
say "os-ip $(ip -4 -o addr show scope global | awk '{ sub("/.*", "", $4); print $4; exit }')"
say up
n=0
while sleep 2; do
	check_content
	n=$((n + 1))
	say "read-again $n"
done
