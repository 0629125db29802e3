#!/bin/sh
# The story inside a machine of another kernel: /t holds the wharf binary and busybox.tar, /data is empty.
# Ends with 0 when every line of it worked.
set -eu
export PATH=/t:$PATH WHARF_HOST=unix:///run/w.sock
fail() { echo "FAILED: $*"; cat /tmp/log; exit 1; }
same() { # EXPECTED ACTUAL WHAT
  [ "$1" = "$2" ] || fail "$3: expected '$1', got '$2'"
  echo "ok: $3"
}
# What udev would have made: kernels with TOMOYO look for it when a program is executed by its descriptor.
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
mkfifo /tmp/ready
wharf daemon -H "$WHARF_HOST" --data-root /data/w --exec-root /run/w --tell-ready > /tmp/ready 2> /tmp/log &
read -r word < /tmp/ready
same ready "$word" "the engine starts on $(uname -r)"
wharf import /t/busybox.tar busybox > /dev/null || fail import
same hello "$(wharf run --rm busybox echo hello)" "run"
set +e; wharf run --rm busybox sh -c 'exit 7'; code=$?; set -e
same 7 $code "exit code"
same "67108864 50000 100000 20" \
  "$(wharf run --rm -m 64m --cpus 0.5 --pids-limit 20 busybox sh -c 'cd /sys/fs/cgroup; echo $(cat memory.max cpu.max pids.max)')" "limits"
wharf run -d --name web -p 8080:80 busybox sh -c 'mkdir /www; echo page > /www/index.html; exec httpd -f -p 80 -h /www' > /dev/null
tries=0
until page=$(wget -qO- http://127.0.0.1:8080/ 2> /dev/null); do
  tries=$((tries + 1)); [ $tries -lt 50 ] || fail "published port"; usleep 100000
done
same page "$page" "published port on 127.0.0.1"
same page "$(wharf run --rm busybox wget -qO- http://web/)" "another container by name"
same page "$(wharf exec web cat /www/index.html)" "exec"
wharf network create n1 > /dev/null && wharf network connect --alias w1 n1 web || fail "network connect"
same page "$(wharf run --rm --network n1 busybox wget -qO- http://w1/)" "a running container joins a network"
wharf network disconnect n1 web && wharf network rm n1 > /dev/null || fail "network disconnect"
echo copied > /tmp/f; wharf cp /tmp/f web:/www/f || fail cp
same copied "$(wharf exec web cat /www/f)" "cp into a running container"
wharf run -d --wait --name ok --health-cmd true --health-interval 100ms busybox sleep 1000 > /dev/null || fail health
wharf rm -f ok > /dev/null; echo "ok: health"
mkdir -p /tmp/mounted; echo seen > /tmp/mounted/file; echo hidden > /tmp/secret
cat > /tmp/mounted/Dockerfile << 'EOD'
FROM busybox AS tools
RUN echo tool > /tool
FROM busybox
RUN --mount=type=cache,target=/c --mount=target=/ctx --mount=from=tools,source=/tool,target=/t --mount=from=tools,target=/rw,rw \
    --mount=type=tmpfs,target=/m --mount=type=secret,id=s \
    cat /ctx/file /t /rw/tool /run/secrets/s > /seen && touch /rw/x /m/x && echo run >> /c/runs && cat /c/runs >> /seen
EOD
wharf build -q -t built --secret id=s,src=/tmp/secret /tmp/mounted > /dev/null || fail "build"
same "seen tool tool hidden run " "$(wharf run --rm built cat /seen | tr '\n' ' ')" "mounts of a build's RUN"
same "" "$(wharf run --rm built sh -c 'ls -d /c /ctx /t /rw /m /run/secrets 2> /dev/null')" "and nothing of them in the image"
# A clock that is set wrong changes nothing that is measured.
wharf run -d --name clock --restart always --health-cmd true --health-interval 200ms busybox \
  sh -c 'echo line; until rm /end 2> /dev/null; do usleep 50000; done' > /dev/null || fail "run --restart"
comes() { # EXPECTED TEMPLATE WHAT
  tries=0
  until [ "$(wharf inspect -f "$2" clock)" = "$1" ]; do
    tries=$((tries + 1)); [ $tries -lt 300 ] || fail "$3"; usleep 100000
  done
}
now=$(date +%s); restarts=0
for jump in 31536000 -86400 0; do
  date -s "@$((now + jump))" > /dev/null
  wharf exec -d clock touch /end || fail "exec after the clock was set by $jump"
  restarts=$((restarts + 1))
  comes "$restarts running healthy" '{{.RestartCount}} {{.State.Status}} {{.State.Health.Status}}' "restart and health after the clock was set by $jump"
  wharf run -d --name short busybox sleep 1000 > /dev/null && wharf stop -t 1 short > /dev/null && wharf rm short > /dev/null || fail "stop after the clock was set by $jump"
done
same "line line line line" "$(echo $(wharf logs clock))" "restarts, health and logs over jumps of the clock"
same "line line" "$(echo $(wharf logs -n 2 clock))" "the last lines over jumps of the clock"
wharf rm -f clock > /dev/null
wharf top web | grep -q httpd || fail top
wharf stats --no-stream web | grep -q web || fail stats
wharf pause web && wharf ps | grep -q Paused && wharf unpause web || fail pause
echo secret > /tmp/secret
for n in 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  wharf exec -w /proc/self/fd/$n web cat ../../../../../../../tmp/secret > /tmp/out 2>&1 && fail "exec -w through descriptor $n"
  grep -q secret /tmp/out && fail "exec -w through descriptor $n reads the host's files"
done
echo "ok: no working directory leads out"
same denied "$(wharf run --rm busybox sh -c 'mknod /x b 254 0; head -c 1 /x > /dev/null 2>&1 || echo denied')" "device access"
same "Seccomp:	2" "$(wharf run --rm busybox grep '^Seccomp:' /proc/self/status)" "system call filter"
kill -9 $!
wharf daemon -H "$WHARF_HOST" --data-root /data/w --exec-root /run/w --tell-ready > /tmp/ready 2>> /tmp/log &
read -r word < /tmp/ready
same page "$(wget -qO- http://127.0.0.1:8080/)" "the port after kill -9 of the engine"
same page "$(wharf exec web cat /www/index.html)" "exec after kill -9 of the engine"
wharf stop -t 1 web > /dev/null && wharf start web > /dev/null && wharf rm -f web > /dev/null || fail "stop, start, rm"
mkdir /tmp/ctx; printf 'FROM busybox\nRUN echo built > /x\nCMD ["cat", "/x"]\n' > /tmp/ctx/Dockerfile
wharf build -q -t b /tmp/ctx > /dev/null || fail build
same built "$(wharf run --rm b)" "build"
same "" "$(wharf ps -aq)" "nothing left"
# The same image, however layers are kept; on ext4, since the machine's own disk is memory.
kill $! && wait $! || true
modprobe ext4 2> /dev/null || true
mkdir /data/u && dd if=/dev/zero of=/data/image bs=1M count=0 seek=300 2> /dev/null && mke2fs -F /data/image > /dev/null 2>&1
mount -t ext4 -o loop /data/image /data/u || fail "mount ext4"
mkdir /tmp/tree && printf 'FROM busybox\nRUN mkdir /d && echo a > /d/a && ln /d/a /b && chmod 4711 /b && mkfifo /p && chown 7:8 /p && ln -s d /l && mkdir -p /e/f && echo e > /e/f/g\n' > /tmp/tree/Dockerfile
printf 'FROM one\nRUN rm -r /e/f /d && mkdir /d && echo new > /d/new && rm /l && mkdir /l\n' > /tmp/tree/Second
seen=""
for layout in erofs erofs-loop unpacked; do
  wharf daemon -H "$WHARF_HOST" --data-root "/data/u/$layout" --exec-root /run/l --layers $layout --tell-ready > /tmp/ready 2>> /tmp/log &
  read -r word < /tmp/ready || word=refused
  if [ "$word" = refused ]; then
    [ $layout != unpacked ] || fail "unpacked layers"
    echo "ok: $layout is refused by this kernel: $(grep -o -- "$layout: .*" /tmp/log | tail -1)"; continue
  fi
  wharf import /t/busybox.tar busybox > /dev/null || fail import
  wharf build -q -t one /tmp/tree > /dev/null && wharf build -q -t two -f /tmp/tree/Second /tmp/tree > /dev/null || fail "build with $layout"
  wharf save -o /tmp/two.tar two && wharf rmi -f two one > /dev/null && wharf load -q -i /tmp/two.tar > /dev/null || fail "save and load with $layout"
  tree=$(wharf run --rm two sh -c 'find / -xdev -path /dev -prune -o -path "/etc/*" -prune -o -exec stat -c "%n %a %u %g %s %N %F" {} + | grep -v "^/ \|directory" | sort | md5sum; find /bin -type f -exec md5sum {} + | sort')
  [ -z "$seen" ] || same "$seen" "$tree" "an image through $layout"
  seen=$tree
  wharf run -d --name other two sleep 1000 > /dev/null && wharf exec other sh -c 'echo x > /new' || fail "a container through $layout"
  same "A /new" "$(wharf diff other | grep -v /etc)" "its changes through $layout"
  wharf image check -q || fail "image check through $layout"
  wharf rm -f other > /dev/null && kill $! && wait $! || true
  echo "ok: $layout works on $(uname -r)"
done
# runc's command line, without an engine.
mkdir -p /data/bundle/rootfs && tar -xf /t/busybox.tar -C /data/bundle/rootfs
cat > /data/bundle/config.json << 'EOD'
{"ociVersion": "1.0.2", "root": {"path": "rootfs"},
 "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh", "-c", "ps -o pid,comm | head -3 | xargs; exit 3"], "env": ["PATH=/bin"], "cwd": "/"},
 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
 "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"}, {"type": "network"}, {"type": "cgroup"}]}}
EOD
set +e; alone=$(wharf oci run -b /data/bundle one 2>&1); code=$?; set -e
same "3 PID COMMAND 1 sh 2 ps" "$code $alone" "a bundle"
[ ! -e /sys/fs/cgroup/wharf-oci-one ] || fail "the cgroup of a bundle stays"
# User namespaces need id-mapped mounts below an overlay: Linux 5.19, and a file system that has them, as ext4 does.
for f in subuid subgid; do echo dockremap:100000:65536 > /etc/$f; done
wharf daemon -H "$WHARF_HOST" --data-root /data/u/w --exec-root /run/u --userns-remap default --tell-ready > /tmp/ready 2>> /tmp/log &
read -r word < /tmp/ready || word=refused
major=$(uname -r | cut -d. -f1); minor=$(uname -r | cut -d. -f2)
if [ "$major" -lt 5 ] || [ "$major" -eq 5 -a "$minor" -lt 19 ]; then
  same refused "$word" "this kernel has no user namespaces for layers"
  grep -q 'id-mapped mounts' /tmp/log || fail "the reason is said"
  echo "story: all of it worked"; exit 0
fi
same ready "$word" "an engine that maps ids"
wharf import /t/busybox.tar busybox > /dev/null || fail import
same "100000 0" "$(wharf run --rm busybox sh -c 'echo $(awk "{print \$2}" /proc/self/uid_map) $(id -u)')" "a user namespace"
same "67108864 20" "$(wharf run --rm -m 64m --pids-limit 20 busybox sh -c 'cd /sys/fs/cgroup; echo $(cat memory.max pids.max)')" "limits in it"
wharf run -d --name c1 -v data:/v busybox sleep 1000 > /dev/null || fail "run -d"
wharf exec c1 sh -c 'echo a > /a; chown 33:44 /a; echo v > /v/f; chown 5:6 /v/f; echo x > /dev/stdout' > /dev/null || fail exec
echo copied > /tmp/f2; wharf cp /tmp/f2 c1:/in || fail cp
same "33 44 5 6 0 0" "$(wharf exec c1 stat -c '%u %g' /a /v/f /in | xargs echo)" "owners in it"
wharf commit c1 made > /dev/null || fail commit
same "33 44" "$(wharf run --rm --userns host made stat -c '%u %g' /a)" "owners on the disk"
same "c 5 0" "$(wharf run --rm -t busybox sh -c 'stat -c "%u" /dev/console > /dev/null && echo c 5 $(id -u)' | tr -d '\r')" "a terminal in it"
same denied "$(wharf run --rm busybox sh -c 'mknod /x b 254 0 2> /dev/null || echo denied')" "no devices are made in it"
wharf rm -f c1 > /dev/null || fail rm
same "" "$(dmesg | grep 'unrecognized mount option')" "overlayfs was asked for nothing that it does not know"
echo "story: all of it worked"
