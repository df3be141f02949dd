//! The changes of a request, in order.

use super::Op;

/// A list whose first entry needs no allocation, since most requests that change something make one change.
#[derive(Clone, Default)]
pub(crate) struct Log {
    first: Option<Op>,
    others: Vec<Op>,
}

impl Log {
    pub(crate) fn push(&mut self, op: Op) {
        match self.first {
            None => self.first = Some(op),
            Some(_) => self.others.push(op),
        }
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Op> {
        self.first.iter().chain(&self.others)
    }

    /// Appends what came later.
    pub(crate) fn append(&mut self, later: Self) {
        later.into_iter().for_each(|op| self.push(op));
    }

    /// Drops so many of the earliest.
    pub(crate) fn forget(&mut self, count: usize) {
        let mut kept = Self::default();
        std::mem::take(self).into_iter().skip(count).for_each(|op| kept.push(op));
        *self = kept;
    }

    fn into_iter(self) -> impl Iterator<Item = Op> {
        self.first.into_iter().chain(self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(idles: impl IntoIterator<Item = u64>) -> Log {
        let mut log = Log::default();
        idles.into_iter().for_each(|idle| log.push(Op::Idle(idle)));
        log
    }

    fn idles(log: &Log) -> Vec<u64> {
        assert_eq!(log.is_empty(), log.len() == 0);
        log.iter().map(|op| if let Op::Idle(idle) = op { *idle } else { unreachable!() }).collect()
    }

    #[test]
    fn it_behaves_like_a_list() {
        for (split, count) in (0..5).flat_map(|split| (0..6).map(move |count| (split, count))) {
            let mut log = log(0..split);
            log.append(self::log(split..4));
            assert_eq!(idles(&log), (0..4.max(split)).collect::<Vec<_>>());
            log.forget(count);
            assert_eq!(idles(&log), (0..4.max(split)).skip(count).collect::<Vec<_>>(), "{split} {count}");
            assert_eq!(log.len(), idles(&log).len());
        }
    }
}
