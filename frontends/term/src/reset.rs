//! What a program on a lost node may have left switched on in the terminal, switched off.
//!
//! The bytes of a session go to the terminal unread, so nobody knows what is on: everything that
//! would make the shell afterwards unusable is set back. Sequences a terminal does not know are
//! ignored by it; on a terminal that was left alone none of them is visible.

/// Mouse reports, focus events, bracketed paste, application keys, keyboard protocols, alternate
/// screen (without moving the cursor), hidden cursor, colours, line wrap, a scrolling region.
pub const UNDO: &str = "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l\x1b[?1015l\
\x1b[?1004l\x1b[?2004l\x1b[?2026l\x1b[?1l\x1b>\x1b[>4;0m\x1b[<99u\x1b[?1047l\x1b[?25h\x1b[?7h\x1b[0m";
