# Around every command: writes down who it is, runs the session's shell as a child, and survives
# a signal to the group to say how it ended. Read by sh with: S K (shell and its kind), D (the
# directory), N (number), M (u: leave the state behind), F (state file), W (directory), X (command),
# E and P (code before and after), G (d: ends with the helper, k: keep, b: in the background), L
# (time limit of the watchdog), T (whose stable path to the agent), Z (a nonce: output begins after
# it), U (it has a terminal: its output is one stream) and Q (what marks its processes).
# Before the word of a command: no function of the user's is meant.
b=command t=
case $K in
  bash) q='"$__b" export -p; "$__b" declare -f; "$__b" declare -Fx; "$__b" alias -p' t='shopt -s expand_aliases' ;;
  zsh) b=builtin q='"$__b" export -p; "$__b" functions; "$__b" alias -L; [ -z "${OLDPWD-}" ] || "$__b" printf "OLDPWD=%s\n" "${(q)OLDPWD}"; [ -n "${HOME+x}" ] || "$__b" echo unset HOME' ;;
  ksh | mksh) q='"$__b" export -p; "$__b" typeset -f; "$__b" echo; "$__b" alias -p' ;;
  *) q='"$__b" export -p' ;;
esac
# A state says in its first line that its last one is there to be reached; what may not be
# understood comes late.
B="$t
__b=$b
__dump='\"\$__b\" echo \"#1\"; \"\$__b\" printf \"umask \"; \"\$__b\" umask; $q; \"\$__b\" echo __z='
__save='[ \"\$__m\" = u ] && {
  \"\$__b\" eval \"\$__p\"
  __y=\$(\"\$__b\" eval \"\$__dump\")
  if [ \"\$__y\" = \"\$__v\" ]; then __y=same
  else \"\$__b\" printf \"%s\\n\" \"\$__y\" > \"\$__d/\$__n.st\"; __y=new; fi
  \"\$__b\" printf \"%s\\n%s\\n.\\n\" \"\$__y\" \"\${PWD:-\$(\"\$__b\" pwd)}\" > \"\$__d/\$__n.cwd\"
  __m=
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
# An EXIT trap of the command's own has taken the place of ours, and exit ended it before its end.
# A command that has become another program (exec) is meant to leave nothing.
if [ "$M" = u ] && [ ! -e "$D/$N.cwd" ] && [ $r -lt 128 ]; then
  case ${X:-$(cat "$D/$N.in")} in *trap*) echo "bssh: the session is as it was before: the command ended by exit with an EXIT trap of its own" >&2 ;; esac
fi
[ "$G" = k ] && { echo $r > "$D/$N.rc.t"; mv "$D/$N.rc.t" "$D/$N.rc"; }
[ -n "$dog" ] && kill -s USR1 $dog 2>/dev/null
exit $r
fi
