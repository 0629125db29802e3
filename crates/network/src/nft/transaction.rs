//! One nf_tables transaction: everything in it happens at once, or nothing does.

use super::expression::{Expression, LIST_ELEM, value};
use crate::netlink::message::{APPEND, Batch, CREATE, REQUEST};
use crate::netlink::socket::Socket;
use rustix::io::Errno;

const SUBSYSTEM: u16 = 10 << 8;
const NEWTABLE: u16 = SUBSYSTEM;
const DELTABLE: u16 = SUBSYSTEM | 2;
const NEWCHAIN: u16 = SUBSYSTEM | 3;
const GETCHAIN: u16 = SUBSYSTEM | 4;
const NEWRULE: u16 = SUBSYSTEM | 6;
const NEWSET: u16 = SUBSYSTEM | 9;
const NEWSETELEM: u16 = SUBSYSTEM | 12;
const DELSETELEM: u16 = SUBSYSTEM | 14;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

/// `NFPROTO_INET`.
const INET: u8 = 1;
/// `struct nfgenmsg` of the inet family.
const INET_HEADER: [u8; 4] = [INET, 0, 0, 0];
/// `struct nfgenmsg` that names the nf_tables subsystem for a transaction.
const BATCH_HEADER: [u8; 4] = [0, 0, 0, 10];

/// Elements in one message: with the largest key and value well below the 32 KiB the socket receives.
const ELEMENTS_PER_MESSAGE: usize = 128;

/// A set or a map.
#[derive(Debug, Clone, Copy)]
pub(super) struct SetShape {
    pub(super) name: &'static str,
    /// Type as the `nft` program shows it; the kernel only stores it.
    pub(super) key_type: u32,
    /// Bytes.
    pub(super) key_len: u32,
    /// Type and bytes of what a map holds.
    pub(super) data: Option<(u32, u32)>,
    /// Elements are ranges; these are the bytes of each field of the key. Empty for plain elements.
    pub(super) ranges: &'static [u32],
    /// The key is one value in the host's byte order.
    pub(super) host_order: bool,
}

/// A chain that the kernel calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hook {
    pub(super) kind: &'static str,
    /// `NF_INET_*`.
    pub(super) number: u32,
    pub(super) priority: i32,
}

/// An element of a set, or of a map with data.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Element {
    pub(super) set: &'static str,
    pub(super) key: Vec<u8>,
    /// The last key of a range.
    pub(super) end: Option<Vec<u8>>,
    pub(super) data: Option<Vec<u8>>,
}

/// A transaction under construction, for one table of the inet family.
#[derive(Debug)]
pub(super) struct Transaction<'a> {
    batch: Batch,
    table: &'a str,
    sets: u32,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(table: &'a str) -> Self {
        let mut batch = Batch::default();
        batch.message(BATCH_BEGIN, REQUEST, &BATCH_HEADER);
        Self { batch, table, sets: 0 }
    }

    pub(super) fn add_table(&mut self) -> &mut Self {
        self.batch.message(NEWTABLE, REQUEST | CREATE, &INET_HEADER).text(1, self.table);
        self
    }

    pub(super) fn delete_table(&mut self) -> &mut Self {
        self.batch.message(DELTABLE, REQUEST, &INET_HEADER).text(1, self.table);
        self
    }

    pub(super) fn add_set(&mut self, shape: &SetShape) -> &mut Self {
        const FLAG_INTERVAL: u32 = 4;
        const FLAG_MAP: u32 = 8;
        const FLAG_CONCAT: u32 = 0x80;
        let ranges = if shape.ranges.is_empty() { 0 } else { FLAG_INTERVAL | FLAG_CONCAT };
        self.sets += 1;
        let b = self.batch.message(NEWSET, REQUEST | CREATE, &INET_HEADER);
        b.text(1, self.table).text(2, shape.name);
        b.be32(3, if shape.data.is_some() { FLAG_MAP } else { 0 } | ranges);
        b.be32(4, shape.key_type).be32(5, shape.key_len);
        if let Some((kind, len)) = shape.data {
            b.be32(6, kind).be32(7, len);
        }
        b.be32(10, self.sets);
        if shape.host_order {
            // For the `nft` program only: its own note on how to show the keys.
            const USERDATA: u16 = 13;
            b.attr(USERDATA, &[0, 4, 1, 0, 0, 0]);
        }
        if !shape.ranges.is_empty() {
            b.nest(9, |b| {
                b.nest(2, |b| {
                    for len in shape.ranges {
                        b.nest(LIST_ELEM, |b| {
                            b.be32(1, *len);
                        });
                    }
                });
            });
        }
        self
    }

    pub(super) fn add_chain(&mut self, name: &str, hook: Option<&Hook>) -> &mut Self {
        let b = self.batch.message(NEWCHAIN, REQUEST | CREATE, &INET_HEADER);
        b.text(1, self.table).text(3, name);
        if let Some(hook) = hook {
            b.nest(4, |b| {
                b.be32(1, hook.number).be32(2, hook.priority as u32);
            });
            b.text(7, hook.kind);
        }
        self
    }

    pub(super) fn add_rule(&mut self, chain: &str, rule: &[Expression]) -> &mut Self {
        let b = self.batch.message(NEWRULE, REQUEST | CREATE | APPEND, &INET_HEADER);
        b.text(1, self.table).text(2, chain).nest(4, |b| {
            for expression in rule {
                expression.encode(b);
            }
        });
        self
    }

    /// Adds elements; those that are already there with the same data are left alone.
    pub(super) fn add_elements(&mut self, elements: &[Element]) -> &mut Self {
        self.elements(NEWSETELEM, CREATE, elements)
    }

    pub(super) fn delete_elements(&mut self, elements: &[Element]) -> &mut Self {
        self.elements(DELSETELEM, 0, elements)
    }

    fn elements(&mut self, kind: u16, flags: u16, elements: &[Element]) -> &mut Self {
        for same_set in elements.chunk_by(|a, b| a.set == b.set) {
            for chunk in same_set.chunks(ELEMENTS_PER_MESSAGE) {
                let b = self.batch.message(kind, REQUEST | flags, &INET_HEADER);
                b.text(1, self.table).text(2, chunk[0].set).nest(3, |b| {
                    for element in chunk {
                        b.nest(LIST_ELEM, |b| {
                            value(b, 1, &element.key);
                            if let Some(end) = &element.end {
                                value(b, 10, end);
                            }
                            if let (Some(data), NEWSETELEM) = (&element.data, kind) {
                                value(b, 2, data);
                            }
                        });
                    }
                });
            }
        }
        self
    }

    /// Ends the transaction and hands it to the kernel.
    pub(super) fn commit(mut self, socket: &mut Socket) -> Result<(), Errno> {
        self.batch.acknowledge();
        let last = self.batch.len() - 1;
        self.batch.message(BATCH_END, REQUEST, &BATCH_HEADER);
        socket.transaction(&self.batch, last).map_err(|refusal| refusal.errno)
    }

    /// The bytes of all messages so far.
    pub(super) fn bytes(&self) -> &[u8] {
        self.batch.bytes()
    }
}

/// Whether a chain is there.
pub(super) fn chain_exists(socket: &mut Socket, table: &str, chain: &str) -> Result<bool, Errno> {
    let mut batch = Batch::default();
    batch.message(GETCHAIN, REQUEST, &INET_HEADER).text(1, table).text(3, chain);
    batch.acknowledge();
    match socket.query(&batch, |_, _| {}) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}
