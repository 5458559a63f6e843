//! The paths of tiles (c2sp.org/tlog-tiles): `<L>/<N>[.p/<W>]` and `entries/<N>[.p/<W>]`, with N in groups of three digits
//! of which all but the last begin with an `x`: tile 1234067 is `x001/x234/067`.

use store::tiles::{TileId, WIDTH};

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TilePath {
    /// The tile; that of the leaves, for entries.
    pub(super) tile: TileId,
    /// The events themselves.
    pub(super) entries: bool,
    /// How many hashes, or entries, are asked for.
    pub(super) width: u64,
}

impl TilePath {
    /// There is one way to write each: anything else is nothing.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let (kind, rest) = path.split_once('/')?;
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, canonical(width).filter(|width| (1..WIDTH).contains(width))?),
            None => (rest, WIDTH),
        };
        let entries = kind == "entries";
        let level =
            if entries { 0 } else { u32::try_from(canonical(kind)?).ok().filter(|level| *level < 8)? };
        Some(Self { tile: TileId { level, index: index_of(index)? }, entries, width })
    }
}

/// A number without leading zeros.
fn canonical(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn index_of(path: &str) -> Option<u64> {
    let groups: Vec<_> = path.split('/').collect();
    let (last, before) = groups.split_last()?;
    // No zeros in front, but for what a single group needs.
    if before.first().is_some_and(|first| *first == "x000") {
        return None;
    }
    let before = before.iter().map(|group| group.strip_prefix('x'));
    let mut index = 0_u64;
    for digits in before.chain([Some(*last)]) {
        let digits =
            digits.filter(|digits| digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    // More leaves than positions can number.
    (index < 1 << 45).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_standard_tile_paths_parse() {
        let tile = |level, index| TileId { level, index };
        for (path, expected) in [
            ("0/000", TilePath { tile: tile(0, 0), entries: false, width: 256 }),
            ("1/x001/x234/067", TilePath { tile: tile(1, 1_234_067), entries: false, width: 256 }),
            ("2/017.p/5", TilePath { tile: tile(2, 17), entries: false, width: 5 }),
            ("entries/x001/000.p/255", TilePath { tile: tile(0, 1000), entries: true, width: 255 }),
        ] {
            assert_eq!(TilePath::parse(path), Some(expected), "{path}");
        }
        for nonsense in [
            "",
            "0",
            "0/",
            "0/0",
            "0/0000",
            "00/000",
            "8/000",
            "-1/000",
            "0/x000/001",
            "0/001/002",
            "0/x01/002",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/01",
            "0/000.p/",
            "entries/",
            "data/000",
            "0/+01",
            "0/x001",
            "0/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(TilePath::parse(nonsense), None, "{nonsense}");
        }
    }
}
