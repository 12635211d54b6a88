//! The plan of reads: neighbours are read together, as few questions as the limits of a frame allow.

use super::{Modbus, Point, Protocol, Table};

/// Registers in one read.
pub const READ_REGISTERS_MAX: u16 = gcode_tools::profile::modbus::REGISTERS_MAX;

/// Bits in one read (Modbus Application Protocol 1.1b3, 6.1 and 6.2).
pub const READ_BITS_MAX: u16 = 2_000;

/// One question of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The table.
    pub table: Table,
    /// First entry.
    pub address: u16,
    /// Entries.
    pub count: u16,
    /// How often it is asked, in milliseconds.
    pub poll_ms: u64,
    /// Which points it answers, as places in the map.
    pub points: Vec<usize>,
}

impl Read {
    /// The entries of one of its points in an answer.
    pub fn part<'a>(&self, point: &Point, words: &'a [u16]) -> Option<&'a [u16]> {
        let from = usize::from(point.address.checked_sub(self.address)?);
        words.get(from..from + usize::from(point.size()))
    }

    /// The same points in two reads, for a device that refuses them in one; nothing where there is one place only.
    pub fn halves(&self, map: &Modbus) -> Option<[Self; 2]> {
        let first = self.points.first().map(|at| map.points[*at].address)?;
        let others = self.points.iter().position(|at| map.points[*at].address != first)?;
        // Parts of one word stay together.
        let middle = (others..self.points.len()).min_by_key(|at| {
            let parts_a_word = map.points[self.points[*at]].address == map.points[self.points[at - 1]].address;
            (parts_a_word, at.abs_diff(self.points.len() / 2))
        })?;
        let (low, high) = self.points.split_at(middle);
        Some([low, high].map(|points| {
            let ends = points.iter().map(|at| u32::from(map.points[*at].address) + u32::from(map.points[*at].size()));
            let address = map.points[points[0]].address;
            let count = ends.max().unwrap_or(0).saturating_sub(u32::from(address)) as u16;
            Self { table: self.table, address, count, poll_ms: self.poll_ms, points: points.to_vec() }
        }))
    }
}

/// Plans the reads of a map: points of one table and one poll rate that are neighbours, or have at most
/// `gap_registers` between them, share a question, where the protocol has questions for several.
pub fn plan(map: &Modbus) -> Vec<Read> {
    let (points, gap) = (&map.points, map.gap_registers);
    let mut order: Vec<usize> =
        (0..points.len()).filter(|at| points[*at].access.reads() && points[*at].poll_ms > 0).collect();
    order.sort_by_key(|at| (points[*at].poll_ms, points[*at].table, points[*at].address));
    let mut reads: Vec<Read> = Vec::new();
    for at in order {
        let point = &points[at];
        let end = u32::from(point.address) + u32::from(point.size());
        let limit = match map.protocol {
            Protocol::Huanyang => 1,
            Protocol::Modbus if point.table.is_bits() => READ_BITS_MAX,
            Protocol::Modbus => map.max_registers.min(READ_REGISTERS_MAX),
        };
        if let Some(last) = reads.last_mut().filter(|last| last.table == point.table && last.poll_ms == point.poll_ms) {
            let reach = u32::from(last.address) + u32::from(last.count) + u32::from(gap);
            let count = end.saturating_sub(u32::from(last.address)).max(u32::from(last.count));
            if u32::from(point.address) <= reach && count <= u32::from(limit) {
                last.count = count as u16;
                last.points.push(at);
                continue;
            }
        }
        let (table, address, poll_ms) = (point.table, point.address, point.poll_ms);
        reads.push(Read { table, address, count: point.size(), poll_ms, points: vec![at] });
    }
    reads
}

#[cfg(test)]
mod test {
    use proptest::prelude::*;

    use super::super::value::test::point;
    use super::super::{Access, Form, Order};
    use super::*;

    fn map(points: &[Point], gap_registers: u16) -> Modbus {
        Modbus { points: points.to_vec(), gap_registers, ..Modbus::default() }
    }

    fn at(address: u16, form: Form) -> Point {
        Point { name: format!("p{address}"), address, ..point(form, Order::Abcd) }
    }

    #[test]
    fn neighbours_are_read_together_and_others_are_not() {
        let points = [at(2, Form::F32), at(0, Form::F32), at(10, Form::U16), at(4, Form::U16)];
        let reads = plan(&map(&points, 0));
        assert_eq!(reads.iter().map(|read| (read.address, read.count)).collect::<Vec<_>>(), [(0, 5), (10, 1)]);
        assert_eq!(plan(&map(&points, 5)).len(), 1, "five registers may be read over");
        assert_eq!(reads[0].part(&points[0], &[1, 2, 3, 4, 5]), Some(&[3, 4][..]));
    }

    #[test]
    fn a_device_is_asked_for_no_more_than_it_gives() {
        let points: Vec<_> = (0..12).map(|address| at(address, Form::U16)).collect();
        let map = Modbus { max_registers: 10, ..map(&points, 0) };
        let counts: Vec<_> = plan(&map).iter().map(|read| read.count).collect();
        assert_eq!(counts, [10, 2]);
    }

    #[test]
    fn a_read_is_halved_until_each_point_stands_alone_and_parts_of_a_word_stay_together() {
        let part = |name: &str, bit| Point { name: name.into(), bit: Some(bit), ..at(2, Form::U16) };
        let points = [at(0, Form::U32), part("a", 0), part("b", 3), at(3, Form::U16)];
        let map = map(&points, 0);
        let mut reads = plan(&map);
        assert_eq!(reads.iter().map(|read| (read.address, read.count)).collect::<Vec<_>>(), [(0, 4)]);
        while let Some((at, halves)) = reads.iter().enumerate().find_map(|(at, read)| Some((at, read.halves(&map)?))) {
            reads.splice(at..=at, halves);
        }
        assert_eq!(reads.iter().map(|read| (read.address, read.count)).collect::<Vec<_>>(), [(0, 2), (2, 1), (3, 1)]);
        assert_eq!(reads[1].points, [1, 2]);
    }

    #[test]
    fn what_is_only_written_or_never_polled_is_not_read() {
        let mut points = [at(0, Form::U16), at(1, Form::U16)];
        points[0].access = Access::Write;
        points[1].poll_ms = 0;
        assert!(plan(&map(&points, 0)).is_empty());
    }

    proptest! {
        #[test]
        fn every_point_is_read_once_within_one_frame(
            places in prop::collection::btree_map(0_u16..2000, prop::sample::select(vec![1_u64, 1000]), 1..200),
            gap in 0_u16..20,
        ) {
            let points: Vec<Point> = places.iter().map(|(place, poll_ms)| Point { poll_ms: *poll_ms, ..at(place * 2, Form::U32) }).collect();
            let reads = plan(&map(&points, gap));
            let mut seen: Vec<usize> = reads.iter().flat_map(|read| read.points.clone()).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..points.len()).collect::<Vec<_>>());
            for read in &reads {
                prop_assert!(read.count <= READ_REGISTERS_MAX);
                let words = vec![0; usize::from(read.count)];
                let wanted: usize = read.points.iter().map(|at| usize::from(points[*at].size())).sum();
                prop_assert!(read.points.iter().all(|at| read.part(&points[*at], &words).is_some()));
                prop_assert!(usize::from(read.count) <= wanted + usize::from(gap) * (read.points.len() - 1));
            }
        }
    }
}
