//! Certificates that are trusted themselves: what `openssl req -x509` makes in one step is the certificate of an authority,
//! which RFC 5280 does not let servers show, and what many registries with a private certificate have.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::Arc;

/// Verifies as usual, and takes a certificate that is itself among the trusted ones, when its name fits and its time is not
/// over.
#[derive(Debug)]
pub(super) struct Pinned {
    pub(super) usual: Arc<WebPkiServerVerifier>,
    pub(super) trusted: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let usual = self.usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        if usual.is_ok() || !self.trusted.contains(end_entity) {
            return usual;
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        match validity(end_entity) {
            Some((from, _)) if now.as_secs() < from => Err(CertificateError::NotValidYet.into()),
            Some((_, until)) if now.as_secs() <= until => Ok(ServerCertVerified::assertion()),
            Some(_) => Err(CertificateError::Expired.into()),
            None => Err(CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version's tag; it is left out in certificates of the first.
const VERSION: u8 = 0xa0;

/// The first and the last second of a certificate, since 1970 (RFC 5280, 4.1).
fn validity(certificate: &[u8]) -> Option<(u64, u64)> {
    let (tag, mut outer, _) = element(certificate)?;
    let (inner_tag, mut fields, _) = element(outer)?;
    if (tag, inner_tag) != (SEQUENCE, SEQUENCE) {
        return None;
    }
    outer = fields;
    if element(outer)?.0 == VERSION {
        fields = element(outer)?.2;
    }
    // Serial number, signature's algorithm, issuer.
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (tag, times, _) = element(fields)?;
    let (first, from, rest) = element(times)?;
    let (second, until, _) = element(rest)?;
    (tag == SEQUENCE).then_some(())?;
    Some((seconds(first, from)?, seconds(second, until)?))
}

/// Tag, content, and what follows (X.690, 8.1).
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        short @ 0..=0x7f => (usize::from(*short), rest),
        long @ 0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

fn seconds(tag: u8, text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let text = match tag {
        // Years of two digits are those from 1950 on.
        UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let time = number(8, 10)? * 3600 + number(10, 12)? * 60 + number(12, 14)?;
    // Years that begin in March end with the leap day.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days =
        year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day.checked_sub(1)?;
    /// Days from March of the year 0 to 1970.
    const EPOCH: u64 = 719_468;
    Some(days.checked_sub(EPOCH)? * 86_400 + time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_certificates() {
        assert_eq!(seconds(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(seconds(UTC_TIME, b"240229120000Z"), Some(1_709_208_000));
        assert_eq!(seconds(GENERALIZED_TIME, b"20500301000001Z"), Some(2_529_705_601));
        for bad in [&b"x"[..], b"240229120000", b"691231235959Z", b"240200000000Z"] {
            assert_eq!(seconds(UTC_TIME, bad), None, "{bad:?}");
        }
    }

    #[test]
    fn no_input_is_read_beyond_its_end() {
        for bad in
            [&[][..], &[0x30], &[0x30, 0x85, 1], &[0x30, 0x84, 255, 255, 255, 255], &[0x30, 2, 0x30, 0]]
        {
            assert_eq!(validity(bad), None);
        }
    }
}
