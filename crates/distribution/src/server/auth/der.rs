//! Just enough DER (X.690) to find a public key and a common name.

/// Tags that are looked for.
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const OID: u8 = 0x06;
const VERSION: u8 = 0xa0;
/// id-at-commonName, 2.5.4.3.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// The first value of some bytes: its tag, its content, what follows.
fn next(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(first) {
        length @ 0..0x80 => (length, rest),
        // Four bytes of length are more than any certificate has.
        long if (0x81..=0x84).contains(&long) => {
            let (digits, rest) = rest.split_at_checked(long - 0x80)?;
            (digits.iter().fold(0, |n, d| n << 8 | usize::from(*d)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn expect(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    next(bytes).filter(|(tag, ..)| *tag == wanted).map(|(_, content, rest)| (content, rest))
}

/// The algorithm and the key of a SubjectPublicKeyInfo (RFC 5280, 4.1.2.7): the object identifiers' bytes, and the
/// bits.
pub(super) fn public_key(info: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (content, _) = expect(info, SEQUENCE)?;
    let (mut algorithm, rest) = expect(content, SEQUENCE)?;
    let mut identifiers = Vec::new();
    while let Some((OID, identifier, rest)) = next(algorithm) {
        identifiers.extend_from_slice(identifier);
        algorithm = rest;
    }
    let (bits, _) = expect(rest, BIT_STRING)?;
    // The first byte says how many bits of the last are unused: none.
    Some((identifiers, bits.strip_prefix(&[0])?))
}

/// The subject and the SubjectPublicKeyInfo of a certificate (RFC 5280, 4.1).
fn subject(certificate: &[u8]) -> Option<(&[u8], &[u8])> {
    let (certificate, _) = expect(certificate, SEQUENCE)?;
    let (mut fields, _) = expect(certificate, SEQUENCE)?;
    if let Some((VERSION, _, rest)) = next(fields) {
        fields = rest;
    }
    // Serial number, signature, issuer, validity.
    for _ in 0..4 {
        fields = next(fields)?.2;
    }
    let (subject, info) = expect(fields, SEQUENCE)?;
    Some((subject, info))
}

/// The SubjectPublicKeyInfo of a certificate.
pub(super) fn certificate_key(certificate: &[u8]) -> Option<&[u8]> {
    subject(certificate).map(|(_, info)| info)
}

/// The last common name of a certificate's subject.
pub(in crate::server) fn common_name(certificate: &[u8]) -> Option<String> {
    let (mut names, _) = subject(certificate)?;
    let mut found = None;
    while let Some((_, set, rest)) = next(names) {
        names = rest;
        let Some((pair, _)) = expect(set, SEQUENCE) else { continue };
        let Some((identifier, value)) = expect(pair, OID) else { continue };
        if identifier == COMMON_NAME {
            found = next(value).and_then(|(_, text, _)| String::from_utf8(text.to_vec()).ok());
        }
    }
    found.filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        assert_eq!(next(&[4, 2, 1, 2, 9]), Some((4, &[1, 2][..], &[9][..])));
        let long = [&[4, 0x81, 0x80][..], &[7; 0x80]].concat();
        assert_eq!(next(&long).unwrap().1.len(), 0x80);
        for bad in [
            &[][..],
            &[4],
            &[4, 1],
            &[4, 0x80],
            &[4, 0x85, 0, 0, 0, 0, 0],
            &[4, 0x84, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(next(bad), None, "{bad:?}");
        }
        assert_eq!((public_key(b"x"), certificate_key(&[0x30, 0])), (None, None));
    }
}
