//! `docs/ssh-config.md`: the keyword table for people.
//!
//! Everything in it comes from `keywords`; a test holds the file fresh.

use super::keywords::{ALIASES, DEPRECATED, UNSUPPORTED, keywords};
use std::fmt::Write;

const HEAD: &str = "\
# ssh_config

Generated from the keyword table in `core/config/src/ssh_config/keywords.rs`:
`BSSH_BLESS=1 cargo test -p bssh-config`.

`~/.ssh/config` and `/etc/ssh/ssh_config` are read as OpenSSH reads them: `Host`, `Match`
(`all canonical final exec host originalhost user localuser localnetwork sessiontype command tagged`),
`Include`, quoting, tokens, variables, and for each keyword the first value.
`bssh explain HOST` shows every effective value, where it was set, and its class.

- **applied**: does what `man ssh_config` says.
- **ignored**: accepted; has no effect on the way to the node or on who is trusted, and none here.
- **warned**: asked for in a file, bssh says that it is missing and goes on; on the command line it
  is refused. In `/etc/ssh/ssh_config` it is ignored: distributions set such things for everybody.
- **refused**: would change the way or the trust and cannot be done. The connection is refused,
  with file and line, for the values that switch it on.

Defaults are those of OpenSSH, but for one: with `BatchMode yes` `ServerAliveInterval` is 300 where
nobody has set it, as in Debian's ssh (`ssh -G -o BatchMode=yes HOST` shows it). Set it yourself where
a program has to notice a dead connection sooner.

| keyword | class | default | meaning |
|---|---|---|---|
";

/// The document.
pub fn document() -> String {
    let mut text = HEAD.to_owned();
    for row in keywords() {
        let default = match row.default {
            "" => String::new(),
            default => format!("`{default}`"),
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "| {} | {} | {default} | {} |", row.name, row.class, row.doc);
    }
    let list = |names: &[&str]| names.join(", ");
    let old: Vec<String> = ALIASES.iter().map(|(old, new)| format!("{old} ({new})")).collect();
    let _ = write!(
        text,
        "\nOld names: {}.\n\nWithout effect, as in ssh: {}.\n\nKnown, warned about as by ssh: {}.\n",
        old.join(", "),
        list(DEPRECATED),
        list(UNSUPPORTED),
    );
    text
}
