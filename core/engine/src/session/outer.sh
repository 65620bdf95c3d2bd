# Around every command: writes down who it is, runs the session's shell as a child, and survives
# a signal to the group to say how it ended. Read by sh with: S K (shell and its kind), D (the
# directory), N (number), M (u: leave the state behind), F (state file), W (directory), X (command),
# E and P (code before and after), G (d: ends with the helper, k: keep, b: in the background), L
# (time limit of the watchdog), T (whose stable path to the agent), Z (a nonce: output begins after
# it), U (it has a terminal: its output is one stream) and Q (what marks its processes).
case $K in
  bash) q='export -p; declare -f; declare -Fx; alias -p' t='shopt -s expand_aliases' ;;
  zsh) q='export -p; functions; alias -L; [ -z "${OLDPWD-}" ] || printf "OLDPWD=%s\n" "${(q)OLDPWD}"; [ -n "${HOME+x}" ] || echo unset HOME' t= ;;
  ksh | mksh) q='export -p; typeset -f; alias -p' t= ;;
  *) q='export -p' t= ;;
esac
B="$t
__dump='$q; printf \"umask \"; umask'
__save='[ \"\$__m\" = u ] && {
  eval \"\$__p\"
  __y=\$(eval \"\$__dump\")
  if [ \"\$__y\" = \"\$__v\" ]; then __y=same
  else printf \"%s\\n\" \"\$__y\" > \"\$__d/\$__n.st\"; __y=new; fi
  printf \"%s\\n%s\\n.\\n\" \"\$__y\" \"\${PWD:-\$(pwd)}\" > \"\$__d/\$__n.cwd\"
}'
"
I='@INNER@'
if [ "$J" != dump ]; then
trap : TERM INT HUP QUIT
b=0
{ read -r l < /proc/$$/stat; } 2>/dev/null && { l=${l##*) }; set -- $l; b=${20}; }
echo "$$ $b" > "$D/$N.pid"
# A helper that ends takes this script away and then ends whoever is written down there.
[ -e "$D/o" ] || exit 143
[ -n "$Q" ] && echo "$Q" > "$D/$N.esc"
# It goes on when nobody listens any more.
[ "$G" = k ] && { : > "$D/$N.keep"; : > "$D/$N.out"; : > "$D/$N.err"; trap '' HUP PIPE; }
set --
[ -n "$T" ] && [ -S "$HOME/.ssh/bssh-agent-$T.sock" ] && SSH_AUTH_SOCK=$HOME/.ssh/bssh-agent-$T.sock
[ -n "${SSH_AUTH_SOCK+x}" ] && set -- "$@" "SSH_AUTH_SOCK=$SSH_AUTH_SOCK"
[ -n "${SSH_CONNECTION+x}" ] && set -- "$@" "SSH_CONNECTION=$SSH_CONNECTION"
[ -n "${SSH_CLIENT+x}" ] && set -- "$@" "SSH_CLIENT=$SSH_CLIENT"
[ -n "$U" ] && [ -n "${SSH_TTY+x}" ] && set -- "$@" "SSH_TTY=$SSH_TTY"
case $K in bash) a=--norc ;; zsh) a=-f ;; *) a= ;; esac
case $S in */busybox) s=sh ;; *) s= ;; esac
# Without a state it has what a command over ssh has.
[ -n "$F" ] && set -- env -i "$@" || set --
inner() { "$@" "$S" $s $a -c "$B$I" "${S##*/}" "$D" "$N" "$F" "$W" "$M" "$X" "$E" "$P"; }
if [ "$L" -gt 0 ]; then
  ( trap 'kill $z 2>/dev/null; exit 0' USR1 TERM INT; sleep "$L" & z=$!; wait $z
    trap : TERM; kill -s TERM -- "-$$"; sleep 5; kill -s KILL -- "-$$" ) </dev/null >/dev/null 2>&1 &
  dog=$!
fi
if [ "$G" = b ]; then
  : > "$D/$N.keep"
  ( trap : TERM INT HUP QUIT
    inner "$@" >"$D/$N.out" 2>"$D/$N.err"
    echo $? > "$D/$N.rc.t"; mv "$D/$N.rc.t" "$D/$N.rc"; : > "$D/$N.pid"
    [ -n "$dog" ] && kill -s USR1 $dog ) </dev/null >/dev/null 2>&1 &
  exit 0
fi
printf %s "$Z"; [ -n "$U" ] || printf %s "$Z" >&2
inner "$@"
r=$?
[ "$G" = k ] && { echo $r > "$D/$N.rc.t"; mv "$D/$N.rc.t" "$D/$N.rc"; }
[ -n "$dog" ] && kill -s USR1 $dog 2>/dev/null
exit $r
fi
