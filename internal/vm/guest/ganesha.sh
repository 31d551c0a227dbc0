# Runs rpcbind and nfs-ganesha in the foreground. This shell is the first process of
# a process namespace and has a mount namespace of its own, both made for it.
# $1 path of the export, $2 what to fill it with, $3 ganesha.conf, $4 "ends" or "stays"
set -e
mount --make-rprivate /
for d in /run /var/lib/nfs /srv; do mount -t tmpfs tmpfs "$d"; done
mkdir -p "$1" /run/rpcbind /var/lib/nfs/ganesha
if [ -d "$2" ]; then
	cp -a "$2/." "$1"
elif [ -n "$2" ]; then
	bsdtar -x -C "$1" -f "$2"
fi
printf '%s\n' "$3" > /run/ganesha.conf

rpcbind -f &
rpcbind=$!
until [ -S /run/rpcbind.sock ]; do
	kill -0 $rpcbind
	sleep 0.1
done

if [ "$4" = ends ]; then (
	until rpcinfo -t 127.0.0.1 mountd 3; do sleep 0.1; done >/dev/null 2>&1
	kill $rpcbind
	echo 'portmapper ended' >&2
) & fi

# When it ends, so does this process namespace, with rpcbind.
exec ganesha.nfsd -F -L STDERR -N NIV_EVENT -f /run/ganesha.conf -p /run/ganesha.pid
