//! Signals a process was started to ignore, by nohup(1) or by a script that has put it into the
//! background. Core and frontends leave them ignored, and so do the programs they start.

/// A set of signals.
#[derive(Debug, Clone, Copy)]
pub struct Ignored(u64);

impl Ignored {
    /// Where a process reads what it ignores itself (proc(5)).
    pub const STATUS: &str = "/proc/self/status";

    /// What such a text has; nothing if it does not say.
    #[must_use]
    pub fn of(status: &str) -> Ignored {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        Ignored(mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default())
    }

    /// Whether a signal, by its number, is among them.
    #[must_use]
    pub fn has(self, signal: i32) -> bool {
        (1..=64).contains(&signal) && self.0 >> (signal - 1) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_is_in_it() {
        let set = Ignored::of("SigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\n");
        assert!(set.has(1) && set.has(13));
        assert!(!set.has(2) && !set.has(0) && !set.has(64) && !set.has(65));
        assert!(!Ignored::of("").has(1) && !Ignored::of("SigIgn: x").has(1));
    }
}
