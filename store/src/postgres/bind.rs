//! Lists as parameters: one array a column.

/// Binds each column of `rows` as an array, in the order of the statement's parameters.
macro_rules! bind {
    ($query:expr, $rows:expr, |$row:ident: $type:ty| $($column:expr),+ $(,)?) => {
        $query$(.bind($rows.iter().map(|$row: &$type| $column).collect::<Vec<_>>()))+
    };
}
pub(super) use bind;
