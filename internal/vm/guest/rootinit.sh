#!/bin/sh
[ -e /run/pxekit ] || exec /sbin/liveinit # an initramfs that is not of this package leaves none
#
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
# A system whose root file system stays on the server (copytoram=n) does not wait for
# the server's end, but says from then on, again and again:
#
#   PXEKIT live-read ok N BYTES                 every file was read once more, for the Nth time
#                                               with so many bytes from the network
#   PXEKIT live-read error                      the files could not be read
#
# With pxekit_attach=EXPORT on the command line it attaches that NBD export before it
# is up, and says from then on, again and again:
#
#   PXEKIT nbd-client started                   anew, when the one before has ended
#   PXEKIT attached-read ok N SHA512 BYTES      the image of the root file system was read from
#                                               it, for the Nth time, with so many bytes from
#                                               the network
#   PXEKIT attached-read error after N          it could not be read, after N times that it could
#
# /run/pxekit was left by the initramfs.

say() { echo "PXEKIT $*" >/dev/console; }

fail() {
	say "failed $*"
	while :; do sleep 3600; done
}

# What must go on while the server is away is in RAM: a shell on a live root cannot
# even start another program then.
. /run/pxekit
export live
if [ -n "$live" ] && [ "$1" != from-ram ]; then
	/bin/mkdir /run/bin && /bin/cp /bin/busybox /bin/udhcpc-script /sbin/init /run/bin/ &&
		/run/bin/busybox --install -s /run/bin && exec /run/bin/sh /run/bin/init from-ram
	fail live "the programs could not be copied to RAM"
fi
export PATH=/run/bin:/bin

read_content() {
	echo 3 >/proc/sys/vm/drop_caches
	(cd / && sha256sum -c -s /content.sha256)
}

check_content() { read_content || fail content "a file of /content.sha256 differs"; }

received() { cat "/sys/class/net/$device/statistics/rx_bytes"; }

live_reads() {
	local before n=0
	while :; do
		before=$(received)
		if read_content 2>/dev/null; then
			n=$((n + 1))
			say "live-read ok $n $(($(received) - before))"
		else
			say "live-read error"
		fi
		sleep 1
	done
}

# The kernel ends the device when the server closes the connection, and nbd-client
# with it, -persist or not. It is started again, as a service manager would do.
attach() {
	local libraries=/run/nbd/lib/x86_64-linux-gnu loader=/run/nbd/lib64/ld-linux-x86-64.so.2
	while :; do
		say "nbd-client started"
		$loader --library-path $libraries /run/nbd/nbd-client "$server" -N "$1" \
			-nonetlink -nofork /dev/nbd1 >/dev/console 2>&1
		sleep 1
	done
}

# A file system that stays mounted would hold on to the ended device.
attached_reads() {
	local before sum n=0
	mkdir /run/attached
	while :; do
		before=$(received)
		if mount -t iso9660 -r /dev/nbd1 /run/attached 2>/dev/null &&
			sum=$(sha512sum /run/attached/sysresccd/x86_64/airootfs.sfs 2>/dev/null); then
			n=$((n + 1))
			say "attached-read ok $n ${sum%% *} $(($(received) - before))"
		else
			say "attached-read error after $n"
			sleep 1
		fi
		umount /run/attached 2>/dev/null
		echo 3 >/proc/sys/vm/drop_caches
	done
}

say "cmdline $(cat /proc/cmdline)"
grep -q ' /run/archiso/airootfs squashfs ro' /proc/mounts || fail root "no squashfs is mounted"
say "root-mounted squashfs"
check_content
say "root-content ok $(sha256sum </content.sha256 | cut -d' ' -f1)"

if [ "$proto" = dhcp ]; then
	udhcpc -i "$device" -f -q -n -t 5 -T 3 -x hostname:sysrescue -s "$(command -v udhcpc-script)" >/dev/null ||
		fail network "udhcpc got no address"
else
	ifconfig "$device" "$address" netmask "$netmask" up || fail network "ifconfig $device $address"
	say "os-ip $address"
fi
[ -z "$attach" ] || attach "$attach" &
say up
[ -z "$attach" ] || attached_reads
[ -z "$live" ] || live_reads

# Connect and close: no request, so the server's record of what was fetched stays
# what the boot made it. Twice in a row, so that one lost packet does not count.
host=${server%:*}
port=${server##*:}
[ "$port" != "$server" ] || port=80
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
