# Ends what this SSH connection has started on the node. Runs beside the command on a channel of
# the same connection: the command's shell is then a child of the same server process as we are.
# stdin: "K" kill and report, "S NAME" send a signal, "Q" go away, "A" somebody has heard that we
# are here. End of file after "A" and without "Q" means that the other side is gone: kill. Without
# "A" it was given up before it began, and what runs here by now may be another command. POSIX
# shell only; /proc is used where it is there.
trap : HUP TERM INT PIPE
P=$PPID
K= k=
# It is read in small pieces, and a child that ends meanwhile may hide another: two looks.
for i in 1 2; do { read -r k < /proc/$P/task/$P/children; K="$K $k"; } 2>/dev/null; done
[ -n "$k" ] || K=$(ps -A -o pid= -o ppid= 2>/dev/null | while read -r a b; do [ "$b" = "$P" ] && echo "$a"; done)
C=
{ read -r C < /proc/$P/comm; } 2>/dev/null
# These serve one connection with one process: all its children are ours, also one that has not
# begun yet, and has no environment, or has made one of its own.
same() {
  case $C in sshd* | dropbear*) return 0 ;; esac
  [ -n "$SSH_CONNECTION" ] && [ -r /proc/$1/environ ] || return 0
  { while read -r e || [ -n "$e" ]; do
    case $e in *"SSH_CONNECTION=$SSH_CONNECTION"*) return 0 ;; esac
  done < /proc/$1/environ; } 2>/dev/null
  return 1
}
born() { { read -r l < /proc/$1/stat; } 2>/dev/null || { echo 0; return; }; l=${l##*) }; set -- $l; echo "${20}"; }
L= B=
for k in $K; do
  case " $$ $L " in *" $k "*) continue ;; esac
  same "$k" || continue
  b=$(born "$k")
  # Over already, and its number may be another's soon.
  [ "$b" = 0 ] && [ -r /proc/$$/stat ] && continue
  L="$L $k" B="$B $b"
done
echo "READY$L"
groups() {
  G=$L
  for f in /proc/[0-9]*/stat; do
    { read -r l < "$f"; } 2>/dev/null || continue
    l=${l##*) }; set -- $l
    case " $L " in *" $4 "*) case " $G " in *" $3 "*) ;; *) G="$G $3" ;; esac ;; esac
  done
}
reused() {
  n=$1 b=
  set -- $B
  for k in $L; do [ "$k" = "$n" ] && b=$1; shift; done
  now=$(born "$n")
  [ "${b:-0}" != 0 ] && [ "$now" != 0 ] && [ "$now" != "$b" ]
}
# One that has not begun yet may not lead its group yet.
hit() { kill -s "$1" -- "-$2" 2>/dev/null || kill -s "$1" "$2" 2>/dev/null; }
send() { for g in $G; do reused "$g" || hit "$1" "$g"; done; }
zombies() {
  for f in /proc/[0-9]*/stat; do
    { read -r l < "$f"; } 2>/dev/null || continue
    l=${l##*) }; set -- $l
    [ "$1" = Z ] && continue
    case "$3 $f" in "$Z "* | *"/$Z/stat") return 1 ;; esac
  done
  [ -r /proc/self/stat ]
}
alive() {
  for g in $G; do
    reused "$g" && continue
    hit 0 "$g" || continue
    Z=$g; zombies || return 0
  done
  return 1
}
pause() { sleep 0.1 2>/dev/null || sleep 1; }
finish() {
  groups; send TERM
  i=0; while alive && [ $i -lt "$1" ]; do pause; i=$((i + 1)); done
  alive || { echo GONE; return; }
  groups; send KILL
  i=0; while alive && [ $i -lt 40 ]; do pause; i=$((i + 1)); done
  if alive; then echo LEFT; else echo GONE; fi
}
armed=
while read -r w a; do
  case $w in
    A) armed=1 ;;
    K) finish 20 ;;
    S) groups; send "$a"; echo SENT ;;
    Q) exit 0 ;;
  esac
done
[ -n "$armed" ] || exit 0
exec >/dev/null 2>&1
finish 10
