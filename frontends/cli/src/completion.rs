//! Completion scripts: the parser's tables, and the names that the configuration knows.
//!
//! The scripts ask `bssh` itself for names, so that a new host of ssh_config or of a cluster is
//! completed at once. Behind `,`, `!`, `&` and `^` of an expression the next name is completed.

use crate::args::Args;
use clap::CommandFactory;
use clap_complete::Shell;

/// What bash runs instead of the generated function, which it falls back to.
const BASH: &str = r#"
_bssh_names() {
    case $1 in
        nodes) bssh nodes expand '@*' 2> /dev/null; bssh nodes expand '@ssh:*' 2> /dev/null ;;
        *) bssh list 2> /dev/null | awk '{ print $1 }' ;;
    esac
}

_bssh_complete() {
    local kind word=${COMP_WORDS[COMP_CWORD]} before
    case ${COMP_WORDS[COMP_CWORD - 1]} in
        -H | -w | --hosts | -x | --exclude) kind=nodes ;;
        -C | --cluster | -g | --group | -X | --exclude-group) kind=groups ;;
        *) _bssh "$@"; return ;;
    esac
    before=${word%"${word##*[,!&^]}"}
    COMPREPLY=($(compgen -P "$before" -W "$(_bssh_names "$kind")" -- "${word#"$before"}"))
    compopt -o nospace 2> /dev/null || true
}

complete -F _bssh_complete -o bashdefault -o default bssh
"#;

/// The functions that the generated zsh script calls for names.
const ZSH: &str = r#"
_bssh_names() {
    local -a names
    case $1 in
        nodes) names=(${(f)"$(bssh nodes expand '@*' 2> /dev/null; bssh nodes expand '@ssh:*' 2> /dev/null)"}) ;;
        *) names=(${(f)"$(bssh list 2> /dev/null | awk '{ print $1 }')"}) ;;
    esac
    compset -P '*[,!&^]'
    compadd -S '' -- $names
}
"#;

/// What fish offers besides the generated lines.
const FISH: &str = r"
function __bssh_nodes
    set -l before (commandline -ct | string replace -r '[^,!&^]*$' '')
    begin
        bssh nodes expand '@*' 2> /dev/null
        bssh nodes expand '@ssh:*' 2> /dev/null
    end | string replace -r '^' -- $before
end
function __bssh_groups
    bssh list 2> /dev/null | awk '{ print $1 }'
end
complete -c bssh -s H -s w -l hosts -x -a '(__bssh_nodes)'
complete -c bssh -s x -l exclude -x -a '(__bssh_nodes)'
complete -c bssh -s C -l cluster -x -a '(__bssh_groups)'
complete -c bssh -s g -l group -x -a '(__bssh_groups)'
complete -c bssh -s X -l exclude-group -x -a '(__bssh_groups)'
";

/// The script for a shell.
pub(crate) fn script(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "bssh", &mut text);
    let text = String::from_utf8_lossy(&text);
    match shell {
        Shell::Bash => format!("{text}{BASH}"),
        Shell::Fish => format!("{text}{FISH}"),
        Shell::Zsh => {
            let named = text
                .replace(":NODES:_default", ":NODES:{_bssh_names nodes}")
                .replace(":CLUSTER:_default", ":CLUSTER:{_bssh_names groups}")
                .replace(":GROUP:_default", ":GROUP:{_bssh_names groups}");
            // Before the line that runs the completion.
            match named.split_once("\n_bssh() {") {
                Some((head, rest)) => format!("{head}{ZSH}\n_bssh() {{{rest}"),
                None => named,
            }
        }
        _ => text.into_owned(),
    }
}
