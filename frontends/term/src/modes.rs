//! The local terminal's settings in the words of SSH: encoded terminal modes, RFC 4254 section 8.
//!
//! A table of opcodes beside the bits of termios; `pty-req` carries the result.

use rustix::termios::{
    ControlModes, InputModes, LocalModes, OutputModes, SpecialCodeIndex, Termios, tcgetattr,
};
use std::os::fd::AsFd;

/// Opcode and argument of every mode RFC 4254 names and this system has.
///
/// # Errors
/// The descriptor is not a terminal.
pub fn modes(terminal: impl AsFd) -> std::io::Result<Vec<(u8, u32)>> {
    let termios = tcgetattr(terminal)?;
    let mut modes =
        vec![(TTY_OP_ISPEED, termios.input_speed()), (TTY_OP_OSPEED, termios.output_speed())];
    modes.extend(CHARACTERS.iter().map(|(op, index)| {
        let value = termios.special_codes[*index];
        // RFC 4254: 255 says that the character is disabled; the system's own value is 0.
        (*op, if value == 0 { 255 } else { u32::from(value) })
    }));
    modes.extend(FLAGS.iter().map(|(op, flag)| (*op, u32::from(flag.is_set(&termios)))));
    Ok(modes)
}

const TTY_OP_ISPEED: u8 = 128;
const TTY_OP_OSPEED: u8 = 129;

const CHARACTERS: &[(u8, SpecialCodeIndex)] = &[
    (1, SpecialCodeIndex::VINTR),
    (2, SpecialCodeIndex::VQUIT),
    (3, SpecialCodeIndex::VERASE),
    (4, SpecialCodeIndex::VKILL),
    (5, SpecialCodeIndex::VEOF),
    (6, SpecialCodeIndex::VEOL),
    (7, SpecialCodeIndex::VEOL2),
    (8, SpecialCodeIndex::VSTART),
    (9, SpecialCodeIndex::VSTOP),
    (10, SpecialCodeIndex::VSUSP),
    (12, SpecialCodeIndex::VREPRINT),
    (13, SpecialCodeIndex::VWERASE),
    (14, SpecialCodeIndex::VLNEXT),
    (18, SpecialCodeIndex::VDISCARD),
];

enum Flag {
    In(InputModes),
    Out(OutputModes),
    Control(ControlModes),
    Local(LocalModes),
}

impl Flag {
    fn is_set(&self, termios: &Termios) -> bool {
        match self {
            Flag::In(f) => termios.input_modes.contains(*f),
            Flag::Out(f) => termios.output_modes.contains(*f),
            Flag::Control(f) => termios.control_modes.contains(*f),
            Flag::Local(f) => termios.local_modes.contains(*f),
        }
    }
}

const FLAGS: &[(u8, Flag)] = &[
    (30, Flag::In(InputModes::IGNPAR)),
    (31, Flag::In(InputModes::PARMRK)),
    (32, Flag::In(InputModes::INPCK)),
    (33, Flag::In(InputModes::ISTRIP)),
    (34, Flag::In(InputModes::INLCR)),
    (35, Flag::In(InputModes::IGNCR)),
    (36, Flag::In(InputModes::ICRNL)),
    (38, Flag::In(InputModes::IXON)),
    (39, Flag::In(InputModes::IXANY)),
    (40, Flag::In(InputModes::IXOFF)),
    (41, Flag::In(InputModes::IMAXBEL)),
    (42, Flag::In(InputModes::IUTF8)),
    (50, Flag::Local(LocalModes::ISIG)),
    (51, Flag::Local(LocalModes::ICANON)),
    (53, Flag::Local(LocalModes::ECHO)),
    (54, Flag::Local(LocalModes::ECHOE)),
    (55, Flag::Local(LocalModes::ECHOK)),
    (56, Flag::Local(LocalModes::ECHONL)),
    (57, Flag::Local(LocalModes::NOFLSH)),
    (58, Flag::Local(LocalModes::TOSTOP)),
    (59, Flag::Local(LocalModes::IEXTEN)),
    (60, Flag::Local(LocalModes::ECHOCTL)),
    (61, Flag::Local(LocalModes::ECHOKE)),
    (62, Flag::Local(LocalModes::PENDIN)),
    (70, Flag::Out(OutputModes::OPOST)),
    (72, Flag::Out(OutputModes::ONLCR)),
    (73, Flag::Out(OutputModes::OCRNL)),
    (74, Flag::Out(OutputModes::ONOCR)),
    (75, Flag::Out(OutputModes::ONLRET)),
    (90, Flag::Control(ControlModes::CS7)),
    (91, Flag::Control(ControlModes::CS8)),
    (92, Flag::Control(ControlModes::PARENB)),
    (93, Flag::Control(ControlModes::PARODD)),
];
