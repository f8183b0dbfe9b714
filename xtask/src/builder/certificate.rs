//! Until when a certificate of ours is good. A daemon that refuses it often ends the connection before it can say why.
//!
//! <https://www.rfc-editor.org/rfc/rfc5280#section-4.1>, in the encoding of X.690.

/// The time after which the first certificate of a PEM text is not good any more, as RFC 3339; `None` if that can't be told.
pub fn end(pem: &str) -> Option<String> {
    let (_, rest) = pem.split_once("-----BEGIN CERTIFICATE-----")?;
    let der = base64(rest.split_once("-----END")?.0)?;
    let (_, certificate, _) = next(&der)?;
    let (_, mut to_be_signed, _) = next(certificate)?;
    let mut fields = Vec::new();
    while let Some((tag, content, rest)) = next(to_be_signed) {
        fields.push((tag, content));
        to_be_signed = rest;
    }
    // The version is left out where it is the first; then serial number, algorithm, issuer, validity.
    let skip = if fields.first()?.0 == 0xa0 { 4 } else { 3 };
    let (_, _, after) = next(fields.get(skip)?.1)?;
    let (tag, time, _) = next(after)?;
    let time = std::str::from_utf8(time).ok()?;
    let time = match tag {
        // UTCTime has two digits for the year.
        0x17 => format!("{}{time}", if time.get(..2)? < "50" { "20" } else { "19" }),
        _ => time.to_owned(),
    };
    let part = |from: usize, to: usize| time.get(from..to);
    Some(format!("{}-{}-{}T{}:{}:{}Z", part(0, 4)?, part(4, 6)?, part(6, 8)?, part(8, 10)?, part(10, 12)?, part(12, 14)?))
}

/// Tag, content and what comes after of the first value.
fn next(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| {
        Some(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        })
    };
    let (mut bits, mut held, mut bytes) = (0u32, 0, Vec::new());
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        bits = (bits << 6 | u32::from(digit(byte)?)) & 0xff_ffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRED: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBBjCBrQIBATAKBggqhkjOPQQDAjANMQswCQYDVQQDDAJjYTAeFw0yMDAxMDEw\n\
MDAwMDBaFw0yMDAxMDIwMDAwMDBaMBIxEDAOBgNVBAMMB2V4cGlyZWQwWTATBgcq\n\
hkjOPQIBBggqhkjOPQMBBwNCAASZPzpgnEk7hjt1Es7NnzVC+ZO+N9VRgwvozhSW\n\
iXjMTyGHsZ6VfDK8lIJZDYFNcOXAJqcrIg+n6U4LF9g+pdSXMAoGCCqGSM49BAMC\n\
A0gAMEUCIHtZLE6TlyFPWVudTSvyYlZp+O0C7Z5LplhwP2AUcQXBAiEAkMjvMd/E\n\
rHnxOx7CBZKet8nV2ScgQlCzpQAf/0rqh0M=\n\
-----END CERTIFICATE-----\n";

    #[test]
    fn the_end_of_a_certificate() {
        assert_eq!(end(EXPIRED).as_deref(), Some("2020-01-02T00:00:00Z"));
        let cut = EXPIRED.replace("-----END", "AAAA\n-----END");
        assert_eq!(end(&cut).as_deref(), Some("2020-01-02T00:00:00Z"), "what comes after is not looked at");
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        for text in ["", "-----BEGIN CERTIFICATE-----\n-----END", "-----BEGIN CERTIFICATE-----\nMII*\n-----END", &EXPIRED[..120]]
        {
            assert_eq!(end(text), None, "{text}");
        }
        assert_eq!(end("-----BEGIN CERTIFICATE-----\n//////////8=\n-----END"), None);
    }
}
