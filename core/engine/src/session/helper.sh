# The helper of a session: keeps its directory, signals its commands, hands over what they left,
# and ends them when the other side is gone (end of file on stdin). POSIX shell only.
# Given: Z (a nonce), A (a directory to adopt), Y (the shell wanted), V (snapshot: login, plain or
# none), C (a directory to begin in), O (text of the file o), R (the directory of the helper before).
u=$(umask)
umask 077
l() { LC_ALL=C; printf 'D %s\n%s\n' "${#1}" "$1"; }
S=${Y:-$SHELL}
case ${S##*/} in
  bash) K=bash ;; zsh) K=zsh ;; ksh | ksh93 | ksh2020) K=ksh ;; mksh | lksh) K=mksh ;; dash | ash | sh | busybox) K=sh ;;
  *) S=$(command -v bash 2>/dev/null); K=bash; [ -n "$S" ] || { S=/bin/sh; K=sh; } ;;
esac
[ -x "$S" ] || { S=/bin/sh; K=sh; }
[ -n "$Y" ] && [ "$S" != "$Y" ] && { echo "NOSHELL $Z"; exit 1; }
[ -n "$C" ] && { (cd -- "$C") 2>/dev/null || { echo "NOCWD $Z"; exit 1; }; }
D=
[ -n "$A" ] && [ -d "$A" ] && [ -O "$A" ] && D=$A
if [ -z "$D" ]; then
  for d in "$XDG_RUNTIME_DIR" "$TMPDIR" /tmp; do
    [ -n "$d" ] && [ -d "$d" ] && D=$(mktemp -d "$d/bssh.XXXXXXXXXX" 2>/dev/null) && break
  done
fi
[ -n "$D" ] && [ -d "$D" ] && [ -O "$D" ] || { echo "NODIR $Z"; exit 1; }
echo $$ > "$D/owner"
printf '%s\n' "$O" > "$D/o"
H=$HOME
first() { # file, option: what a fresh shell has
  case $K in bash) a=--norc ;; zsh) a=-f ;; *) a= ;; esac
  [ "$2" = -l ] && a=
  case $S in */busybox) s=sh ;; *) s= ;; esac
  J=dump; . "$D/o"
  : > "$1"
# Beginning with the login's umask, not ours.
  ( umask "$u"; exec "$S" $s $a $2 -c "$B"'( eval "$__dump" ) >| "$0"' "$1" ) </dev/null >/dev/null 2>&1
  [ -s "$1" ]
}
snap=none
[ "$V" = login ] && first "$D/0.st" -l && snap=login
[ "$V" != none ] && [ $snap = none ] && first "$D/0.st" "" && snap=plain
[ -n "$C" ] && cd -- "$C" 2>/dev/null
echo "READY $Z $$ $K $snap"
l "$D"; l "$H"; l "$S"; l "$PWD"
same() { # pid, start time: still who we think it is, or gone with its group alive
  e=$2
  [ "$e" = 0 ] && return 0
  { read -r t < /proc/$1/stat; } 2>/dev/null || return 0
  t=${t##*) }; set -- $t
  [ "${20}" = "$e" ]
}
far() { # name, id: what has left the group but not forgotten its mark
  r=1
  { read -r y < "$D/$2.esc"; } 2>/dev/null || return 1
  for f in $(grep -l "BSSH_EXEC=$y" /proc/[0-9]*/environ 2>/dev/null); do
    f=${f%/environ}
    kill -s "$1" "${f##*/}" 2>/dev/null && r=0
  done
  return $r
}
sig() { # name, id
  { read -r p b < "$D/$2.pid"; } 2>/dev/null || return 1
  [ -n "$p" ] || return 1
  same "$p" "$b" || return 2
  g=1
  kill -s "$1" -- "-$p" 2>/dev/null && g=0
  [ -s "$D/$2.esc" ] && far "$1" "$2" && g=0
  return $g
}
# A helper that was killed has left its commands running; one that was not is at it itself.
L=
[ -n "$R" ] && [ -d "$R" ] && [ -O "$R" ] && {
  for f in "$R"/*.pid; do
    [ -s "$f" ] || continue
    i=${f##*/}; i=${i%.pid}
    [ -e "$R/$i.keep" ] || L="$L $i"
  done
  ( sleep 3; d=$D; D=$R
    for x in $L; do sig KILL "$x"; done
    [ "$d" = "$R" ] && exit
    for f in "$R"/*.keep "$R"/*.rc; do [ -e "$f" ] && exit; done
    rm -rf "$R" ) </dev/null >/dev/null 2>&1 &
}
# What sessions of more than a week ago have left: results nobody came for. One look at all of them
# first: hundreds of sessions may be here, and next to none of them is old.
( [ -n "$(find "${D%/*}/." ! -name . -prune -name 'bssh.*' -mtime +7 -user "$(id -u)" 2>/dev/null)" ] || exit
  for d in "${D%/*}"/bssh.*; do
    [ "$d" != "$D" ] && [ -d "$d" ] && [ ! -L "$d" ] && [ -O "$d" ] || continue
    [ -n "$(find "$d" -prune -mtime +7 2>/dev/null)" ] || continue
    D=$d
    for f in "$d"/*.pid; do
      [ -s "$f" ] || continue
      i=${f##*/}
      sig 0 "${i%.pid}" && continue 2
    done
    o=
    { read -r o < "$d/owner"; } 2>/dev/null
    [ -n "$o" ] && kill -0 "$o" 2>/dev/null && continue
    rm -rf "$d"
  done ) </dev/null >/dev/null 2>&1 &
T= n=0
sweep() { [ -n "$T" ] && ( cd "$D" && rm -f $T ); T= n=0; }
while IFS=' ' read -r w a b; do
  case $w in
    SIG) sig "$a" "$b"; echo "R $?" ;;
    END)
      v=
      [ -f "$D/$a.cwd" ] && while IFS= read -r x; do v="$v$x
"; done < "$D/$a.cwd"
      l "$v"
      : > "$D/$a.pid"
      T="$T $a.cwd $a.pid $a.in $a.keep $a.esc $a.rc $a.out $a.err"; n=$((n + 1)); [ $n -ge 8 ] && sweep ;;
    GET)
      if [ -f "$D/$a" ]; then
        s=$(wc -c < "$D/$a"); b=${b:-0}; r=$((s - b)); [ $r -gt 1048576 ] && r=1048576
        [ $r -lt 0 ] && r=0
        echo "D $r"; [ $r -gt 0 ] && tail -c +$((b + 1)) "$D/$a" | head -c $r; echo
      else echo "D -1"; fi ;;
    PUT) head -c "$b" > "$D/$a.t" && mv "$D/$a.t" "$D/$a"; echo "R $?" ;;
    RM) T="$T $a $b"; n=$((n + 1)); [ $n -ge 8 ] && sweep ;;
    BYE) rm -f "$D"/*.keep "$D"/*.rc; break ;;
  esac
done
exec >/dev/null 2>&1
trap : HUP TERM INT PIPE
L= kept=
cd /
# What has not begun by now does not begin any more.
own() { { read -r o < "$D/owner"; } 2>/dev/null; [ "$o" = $$ ]; }
own && rm -f "$D/o"
for f in "$D"/*.pid; do
  [ -s "$f" ] || continue
  i=${f##*/}; i=${i%.pid}
  if [ -e "$D/$i.keep" ]; then kept=1; else L="$L $i"; sig TERM "$i"; fi
done
i=0
while [ $i -lt 10 ]; do
  left=; for x in $L; do sig 0 "$x" && left=1; done
  [ -z "$left" ] && break
  sleep 0.1 2>/dev/null || { sleep 1; i=10; }
  i=$((i + 1))
done
for x in $L; do sig KILL "$x"; done
for f in "$D"/*.rc; do [ -e "$f" ] && kept=1; done
[ -z "$kept" ] && own && rm -rf "$D"
