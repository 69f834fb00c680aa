/// No request is worth more verifications: of RSA they take some ten milliseconds together.
const TRIES_MAX: usize = 400;

/// What made the signature hold.
pub(super) struct Found<By> {
    /// Per dimension the change that was made, from 1; 0 where it stays as received.
    pub(super) picks: Vec<usize>,
    pub(super) by: By,
}

/// Tries each change of every dimension alone, then two changes of different dimensions at once, those that stand first in
/// their lists first. A dimension's size is how many changes it has.
///
/// `holds` answers `None` for "no". Every call of it counts, whether or not it came to a verification.
pub(super) fn search<By>(sizes: &[usize], mut holds: impl FnMut(&[usize]) -> Option<By>) -> Option<Found<By>> {
    let mut tries: Vec<Vec<(usize, usize)>> = Vec::new();
    for (dimension, size) in sizes.iter().enumerate() {
        tries.extend((1..=*size).map(|change| vec![(dimension, change)]));
    }
    let mut pairs = Vec::new();
    for (one, size) in sizes.iter().enumerate() {
        for (other, other_size) in sizes.iter().enumerate().skip(one + 1) {
            for change in 1..=*size {
                pairs.extend((1..=*other_size).map(|second| vec![(one, change), (other, second)]));
            }
        }
    }
    // Stable: pairs of equal likelihood keep the order of the dimensions.
    pairs.sort_by_key(|pair| pair.iter().map(|(_, change)| change).sum::<usize>());
    tries.extend(pairs);
    tries.truncate(TRIES_MAX);

    let mut picks = vec![0; sizes.len()];
    for changes in tries {
        picks.fill(0);
        for (dimension, change) in changes {
            picks[dimension] = change;
        }
        if let Some(by) = holds(&picks) {
            return Some(Found { picks, by });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_change_is_tried_before_two_and_no_two_of_one_dimension() {
        let mut tried = Vec::new();
        let found = search(&[2, 0, 1], |picks| {
            tried.push(picks.to_vec());
            None::<()>
        });
        assert!(found.is_none());
        assert_eq!(tried, [[1, 0, 0], [2, 0, 0], [0, 0, 1], [1, 0, 1], [2, 0, 1]]);
    }

    #[test]
    fn the_first_that_holds_ends_it_and_so_does_the_limit() {
        let found = search(&[3, 3], |picks| (picks == [2, 1]).then_some("key")).unwrap();
        assert_eq!((found.picks, found.by), (vec![2, 1], "key"));
        let mut tries = 0;
        let never = search(&[40, 40, 40], |_| {
            tries += 1;
            None::<()>
        });
        assert_eq!((never.is_none(), tries), (true, TRIES_MAX));
    }
}
