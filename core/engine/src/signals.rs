//! Names of signals, as kill(1) takes them: whoever sends another one is told, for a node would
//! only be silent about it.

use bssh_protocol::error::{CallError, Kind};

/// Those of POSIX and a few that are everywhere; RFC 4254 section 6.10 has twelve of them.
const NAMES: [&str; 29] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "KILL", "PIPE",
    "PROF", "QUIT", "SEGV", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1",
    "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
];

/// A signal's name without `SIG`.
///
/// # Errors
/// `json.invalidParams`: it is none.
pub(crate) fn known(name: &str) -> Result<(), CallError> {
    match NAMES.contains(&name) {
        true => Ok(()),
        false => {
            let shown: String = name.chars().take(32).collect();
            let all = NAMES.join(", ");
            let text = format!("params.signal: {shown:?} is no signal; known are {all}");
            Err(CallError::new(Kind::InvalidParams, text).at("params.signal"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_is_told_those_that_are() {
        for name in ["INT", "TERM", "KILL", "USR2", "STOP"] {
            assert!(known(name).is_ok(), "{name}");
        }
        for name in ["", "SIGINT", "int", "9", "BOGUS", "TERM; id"] {
            let error = known(name).unwrap_err();
            assert!(error.message.contains("known are ABRT, ALRM, "), "{error}");
            assert_eq!(error.data.unwrap().at.as_deref(), Some("params.signal"));
        }
    }
}
