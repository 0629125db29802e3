//! The expressions that our rules are made of, each encoded as the kernel's virtual machine takes it.

use crate::netlink::message::Batch;

/// `NFTA_LIST_ELEM`.
pub(super) const LIST_ELEM: u16 = 1;
/// `NFTA_DATA_VALUE`.
pub(super) const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;

/// The first of sixteen registers of four bytes (`NFT_REG32_00`).
pub(super) const REG: u32 = 8;

/// `NFT_META_*`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Meta {
    InName = 6,
    OutName = 7,
    Family = 15,
    Protocol = 16,
}

/// `NFT_PAYLOAD_*`: which header an offset counts from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Header {
    Network = 1,
    Transport = 2,
}

/// `NFT_CT_*`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Conntrack {
    State = 0,
    Status = 2,
}

/// What happens to a packet.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict {
    Drop,
    Accept,
    Return,
    Jump(&'static str),
}

/// One step of a rule.
#[derive(Debug, Clone)]
pub(super) enum Expression {
    Meta {
        key: Meta,
        register: u32,
    },
    Payload {
        header: Header,
        offset: u32,
        len: u32,
        register: u32,
    },
    Conntrack {
        key: Conntrack,
        register: u32,
    },
    /// The kind of the destination address (`RTN_*`).
    DestinationKind {
        register: u32,
    },
    And {
        register: u32,
        mask: Vec<u8>,
    },
    Equal {
        register: u32,
        value: Vec<u8>,
    },
    NotEqual {
        register: u32,
        value: Vec<u8>,
    },
    In {
        set: &'static str,
        register: u32,
    },
    NotIn {
        set: &'static str,
        register: u32,
    },
    /// Puts a value into registers.
    Load {
        register: u32,
        value: Vec<u8>,
    },
    /// Loads what a map holds for the key; the rule ends where it holds nothing.
    Map {
        map: &'static str,
        key: u32,
        data: u32,
    },
    DestinationNat {
        family: u32,
        address: u32,
        port: u32,
    },
    Masquerade,
    Verdict(Verdict),
}

impl Expression {
    /// Adds the expression to a rule's list.
    pub(super) fn encode(&self, batch: &mut Batch) {
        match self {
            Self::Meta { key, register } => expression(batch, "meta", |b| {
                b.be32(1, *register).be32(2, *key as u32);
            }),
            Self::Payload { header, offset, len, register } => expression(batch, "payload", |b| {
                b.be32(1, *register).be32(2, *header as u32).be32(3, *offset).be32(4, *len);
            }),
            Self::Conntrack { key, register } => expression(batch, "ct", |b| {
                b.be32(1, *register).be32(2, *key as u32);
            }),
            Self::DestinationKind { register } => expression(batch, "fib", |b| {
                const RESULT_ADDRTYPE: u32 = 3;
                const FLAG_DADDR: u32 = 2;
                b.be32(1, *register).be32(2, RESULT_ADDRTYPE).be32(3, FLAG_DADDR);
            }),
            Self::And { register, mask } => expression(batch, "bitwise", |b| {
                let len = u32::try_from(mask.len()).expect("a mask fits registers");
                b.be32(1, *register).be32(2, *register).be32(3, len);
                value(b, 4, mask);
                value(b, 5, &vec![0; mask.len()]);
            }),
            Self::Equal { register, value } => compare(batch, *register, 0, value),
            Self::NotEqual { register, value } => compare(batch, *register, 1, value),
            Self::In { set, register } => expression(batch, "lookup", |b| {
                b.text(1, set).be32(2, *register);
            }),
            Self::NotIn { set, register } => expression(batch, "lookup", |b| {
                const FLAG_INVERT: u32 = 1;
                b.text(1, set).be32(2, *register).be32(5, FLAG_INVERT);
            }),
            Self::Load { register, value } => expression(batch, "immediate", |b| {
                b.be32(1, *register);
                self::value(b, 2, value);
            }),
            Self::Map { map, key, data } => expression(batch, "lookup", |b| {
                b.text(1, map).be32(2, *key).be32(3, *data);
            }),
            Self::DestinationNat { family, address, port } => expression(batch, "nat", |b| {
                const TYPE_DNAT: u32 = 1;
                b.be32(1, TYPE_DNAT).be32(2, *family).be32(3, *address).be32(5, *port);
            }),
            Self::Masquerade => expression(batch, "masq", |_| {}),
            Self::Verdict(verdict) => expression(batch, "immediate", |b| {
                b.be32(1, 0).nest(2, |b| {
                    b.nest(DATA_VERDICT, |b| match verdict {
                        Verdict::Drop => {
                            b.be32(1, 0);
                        }
                        Verdict::Accept => {
                            b.be32(1, 1);
                        }
                        Verdict::Return => {
                            b.be32(1, (-5i32) as u32);
                        }
                        Verdict::Jump(chain) => {
                            b.be32(1, (-3i32) as u32).text(2, chain);
                        }
                    });
                });
            }),
        }
    }
}

fn expression(batch: &mut Batch, name: &str, data: impl FnOnce(&mut Batch)) {
    batch.nest(LIST_ELEM, |b| {
        b.text(EXPR_NAME, name).nest(EXPR_DATA, data);
    });
}

fn compare(batch: &mut Batch, register: u32, operator: u32, content: &[u8]) {
    expression(batch, "cmp", |b| {
        b.be32(1, register).be32(2, operator);
        value(b, 3, content);
    });
}

/// Adds a value as nf_tables wraps it.
pub(super) fn value(batch: &mut Batch, kind: u16, content: &[u8]) {
    batch.nest(kind, |b| {
        b.attr(DATA_VALUE, content);
    });
}
