//! A file's mode in the bits of Go's `fs.FileMode`.

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Content, or another name of some.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// None of these.
    Irregular,
}

const DIRECTORY: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;
const DEVICE: u32 = 1 << 26;
const FIFO: u32 = 1 << 25;
const SOCKET: u32 = 1 << 24;
const SETUID: u32 = 1 << 23;
const SETGID: u32 = 1 << 22;
const CHAR_DEVICE: u32 = 1 << 21;
const STICKY: u32 = 1 << 20;
const IRREGULAR: u32 = 1 << 19;

const KINDS: [(FileKind, u32); 8] = [
    (FileKind::Directory, DIRECTORY),
    (FileKind::Symlink, SYMLINK),
    (FileKind::CharDevice, DEVICE | CHAR_DEVICE),
    (FileKind::BlockDevice, DEVICE),
    (FileKind::Fifo, FIFO),
    (FileKind::Socket, SOCKET),
    (FileKind::Irregular, IRREGULAR),
    (FileKind::File, 0),
];
/// The three bits above the permissions, in Unix and in Go.
const SPECIAL: [(u32, u32); 3] = [(0o4000, SETUID), (0o2000, SETGID), (0o1000, STICKY)];

/// Kind and permissions of Go's mode.
pub fn parse_mode(mode: u32) -> (FileKind, u32) {
    let kind = KINDS.iter().find(|(_, bits)| mode & bits == *bits).map_or(FileKind::File, |(kind, _)| *kind);
    let special = SPECIAL.iter().filter(|(_, go)| mode & go != 0).map(|(unix, _)| unix).sum::<u32>();
    (kind, mode & 0o777 | special)
}

/// Go's mode of kind and permissions.
pub fn go_mode(kind: FileKind, permissions: u32) -> u32 {
    let bits = KINDS.iter().find(|(k, _)| *k == kind).map_or(0, |(_, bits)| *bits);
    let special = SPECIAL.iter().filter(|(unix, _)| permissions & unix != 0).map(|(_, go)| go).sum::<u32>();
    bits | permissions & 0o777 | special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_there_and_back() {
        for (kind, _) in KINDS {
            for permissions in [0, 0o644, 0o4755, 0o1777, 0o7777] {
                assert_eq!(parse_mode(go_mode(kind, permissions)), (kind, permissions));
            }
        }
        assert_eq!(parse_mode(0o20000000755), (FileKind::Directory, 0o755));
    }
}
