//! Just enough DER (X.690) to find a public key and a common name, and to write a public key.

/// The object identifiers of ECDSA on P-256: of the algorithm and of the curve.
pub const EC_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
/// On P-384.
pub const EC_P384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 0x2b, 0x81, 4, 0, 0x22];
/// RSA.
pub const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
/// Ed25519.
pub const EDWARDS: &[u8] = &[0x2b, 0x65, 0x70];

/// Tags that are looked for.
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const OID: u8 = 0x06;
const NULL: [u8; 2] = [0x05, 0];
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
pub fn public_key(info: &[u8]) -> Option<(Vec<u8>, &[u8])> {
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

/// A value with its tag and its length.
fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..0x80 => vec![tag, u8::try_from(length).unwrap_or_default()],
        _ => {
            let digits: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|b| *b == 0).collect();
            let count = 0x80 | u8::try_from(digits.len()).unwrap_or_default();
            [&[tag, count][..], &digits].concat()
        }
    };
    [&head, content].concat()
}

/// The SubjectPublicKeyInfo of a key: of P-256 and Ed25519 the point, of RSA what PKCS#1 has.
pub fn public_key_info(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let algorithm = match algorithm {
        EC_P256 | EC_P384 => [value(OID, &algorithm[..7]), value(OID, &algorithm[7..])].concat(),
        RSA => [&value(OID, algorithm)[..], &NULL].concat(),
        _ => value(OID, algorithm),
    };
    let bits = [&[0][..], key].concat();
    value(SEQUENCE, &[value(SEQUENCE, &algorithm), value(BIT_STRING, &bits)].concat())
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
pub fn certificate_key(certificate: &[u8]) -> Option<&[u8]> {
    subject(certificate).map(|(_, info)| info)
}

/// The last common name of a certificate's subject.
pub fn common_name(certificate: &[u8]) -> Option<String> {
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
