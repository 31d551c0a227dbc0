#!/bin/sh
# /sbin/init of the test root file system. It says on the console:
#
#   PXEKIT cmdline ...                          the kernel's command line
#   PXEKIT root-mounted squashfs                below / there is a squashfs
#   PXEKIT root-content ok SHA256               every file was read and is what it should
#                                               be; SHA256 is that of the list of files
#   PXEKIT os-ip ADDRESS                        the address that this system got by DHCP, as
#                                               NetworkManager asks for one (option 61, host
#                                               name sysrescue), or was given
#   PXEKIT up                                   nothing more is to come while the server runs
#   PXEKIT server-gone                          the server does not accept connections any more
#   PXEKIT root-content-after-server-gone ok    every file was read once more, not from a cache
#   PXEKIT failed STAGE REASON                  the end
#
# /run/pxekit was left by the initramfs.

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

. /run/pxekit
say "cmdline $(cat /proc/cmdline)"
grep -q ' /run/archiso/airootfs squashfs ro' /proc/mounts || fail root "no squashfs is mounted"
say "root-mounted squashfs"
check_content
say "root-content ok $(sha256sum </content.sha256 | cut -d' ' -f1)"

if [ "$proto" = dhcp ]; then
	udhcpc -i "$device" -f -q -n -t 5 -T 3 -x hostname:sysrescue -s /bin/udhcpc-script >/dev/null ||
		fail network "udhcpc got no address"
else
	ifconfig "$device" "$address" netmask "$netmask" up || fail network "ifconfig $device $address"
	say "os-ip $address"
fi
say up

# Connect and close: no request, so the server's record of what was fetched stays
# what the boot made it. Twice in a row, so that one lost packet does not count.
host=${server#*://}
host=${host%%/*}
port=${host##*:}
[ "$port" = "$host" ] && port=80
host=${host%:*}
gone=0
while [ "$gone" -lt 2 ]; do
	sleep 1
	if nc -w 5 "$host" "$port" </dev/null >/dev/null 2>&1; then
		gone=0
	else
		gone=$((gone + 1))
	fi
done
say server-gone
check_content
say "root-content-after-server-gone ok"
while :; do sleep 3600; done
