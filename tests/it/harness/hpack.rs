//! Header compression (RFC 7541): just enough to write any block, right or wrong, and to read what a gateway answers.
//!
//! Nothing is kept in a dynamic table: a client that says so in its settings is answered without one.

/// How many bits the code of each byte has, and that of the end (Appendix B); the codes themselves follow in their order.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
];

/// The static table (Appendix A).
const TABLE: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// A block of these fields, each written out (section 6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name.as_bytes(), value.as_bytes())).collect()
}

/// One field, written out and not to be kept.
pub(crate) fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0x00], &*string(name), &*string(value)].concat()
}

/// One field, written out and to be kept (section 6.2.1).
pub(crate) fn kept(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0x40], &*string(name), &*string(value)].concat()
}

/// A field of a table by its index (section 6.1).
pub(crate) fn indexed(index: usize) -> Vec<u8> {
    integer(0x80, 7, index)
}

/// A string as it is (section 5.2).
pub(crate) fn string(text: &[u8]) -> Vec<u8> {
    [integer(0, 7, text.len()), text.to_vec()].concat()
}

/// An integer with a prefix of so many bits, beside these bits (section 5.1).
pub(crate) fn integer(bits: u8, prefix: u8, mut value: usize) -> Vec<u8> {
    let most = (1 << prefix) - 1;
    if value < most {
        return vec![bits | value as u8];
    }
    let mut bytes = vec![bits | most as u8];
    value -= most;
    while value >= 128 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// The fields of a block of a gateway's.
pub(crate) fn fields(mut block: &[u8]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    while let [first, ..] = block {
        let named = |index: usize| TABLE.get(index.wrapping_sub(1)).unwrap_or_else(|| panic!("no field {index}"));
        match first {
            0x80.. => {
                let (name, value) = named(read_integer(&mut block, 7));
                fields.push(((*name).to_owned(), (*value).to_owned()));
            }
            // The size of the dynamic table.
            0x20..0x40 => drop(read_integer(&mut block, 5)),
            _ => {
                let index = read_integer(&mut block, if *first & 0x40 == 0 { 4 } else { 6 });
                let name = if index == 0 { read_string(&mut block) } else { named(index).0.to_owned() };
                fields.push((name, read_string(&mut block)));
            }
        }
    }
    fields
}

fn read_integer(from: &mut &[u8], prefix: u8) -> usize {
    let most = (1 << prefix) - 1;
    let mut value = usize::from(from[0]) & most;
    *from = &from[1..];
    if value == most {
        let mut shift = 0;
        loop {
            let byte = from[0];
            *from = &from[1..];
            value += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    value
}

fn read_string(from: &mut &[u8]) -> String {
    let coded = from[0] & 0x80 != 0;
    let length = read_integer(from, 7);
    let (text, rest) = from.split_at(length);
    *from = rest;
    String::from_utf8_lossy(&if coded { decoded(text) } else { text.to_vec() }).into_owned()
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut symbols: Vec<usize> = (0..LENGTHS.len()).collect();
    symbols.sort_by_key(|symbol| (LENGTHS[*symbol], *symbol));
    let mut codes = std::collections::HashMap::new();
    let (mut code, mut length) = (0_u32, LENGTHS[symbols[0]]);
    for symbol in symbols {
        code <<= LENGTHS[symbol] - length;
        length = LENGTHS[symbol];
        codes.insert((length, code), symbol);
        code += 1;
    }
    let (mut bytes, mut code, mut length) = (Vec::new(), 0_u32, 0);
    for bit in text.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
        code = code << 1 | u32::from(bit);
        length += 1;
        if let Some(symbol) = codes.get(&(length, code)) {
            bytes.push(*symbol as u8);
            (code, length) = (0, 0);
        }
    }
    bytes
}
