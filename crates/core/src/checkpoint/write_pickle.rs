//! Writes pickles as PyTorch does, in protocol 2.

/// A Python value.
pub enum Node {
    /// `None`.
    None,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A string.
    Text(String),
    /// A tuple.
    Tuple(Vec<Node>),
    /// A list.
    List(Vec<Node>),
    /// A dict: keys and values, in order.
    Dict(Vec<(Node, Node)>),
    /// A tensor.
    Tensor(StoredTensor),
}

/// A tensor that is its whole storage, in row-major order.
pub struct StoredTensor {
    /// The name of its record.
    pub key: String,
    /// The class of its storage in PyTorch.
    pub kind: &'static str,
    /// The size of each axis.
    pub shape: Vec<usize>,
}

/// The pickle of a value.
pub fn pickle(root: &Node) -> Vec<u8> {
    let mut bytes = vec![0x80, 2];
    put(&mut bytes, root);
    bytes.push(b'.');
    bytes
}

/// Writes a value.
fn put(to: &mut Vec<u8>, node: &Node) {
    match node {
        Node::None => to.push(b'N'),
        Node::Bool(value) => to.push(if *value { 0x88 } else { 0x89 }),
        Node::Int(n) => int(to, *n),
        Node::Float(x) => to.extend([&b"G"[..], &x.to_be_bytes()].concat()),
        Node::Text(value) => text(to, value),
        Node::Tuple(items) => tuple(to, items, put),
        Node::List(items) => {
            to.extend(b"](");
            items.iter().for_each(|item| put(to, item));
            to.push(b'e');
        }
        Node::Dict(pairs) => {
            to.extend(b"}(");
            for (key, value) in pairs {
                put(to, key);
                put(to, value);
            }
            to.push(b'u');
        }
        Node::Tensor(stored) => tensor(to, stored),
    }
}

/// Writes a tuple, with `put` for each item.
fn tuple<T>(to: &mut Vec<u8>, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    to.push(b'(');
    items.iter().for_each(|item| put(to, item));
    to.push(b't');
}

/// Writes an integer.
fn int(to: &mut Vec<u8>, n: i64) {
    match i32::try_from(n) {
        Ok(n) => to.extend([&b"J"[..], &n.to_le_bytes()].concat()),
        Err(_) => to.extend([&b"\x8a\x08"[..], &n.to_le_bytes()].concat()),
    }
}

/// Writes a string.
fn text(to: &mut Vec<u8>, value: &str) {
    // a name of a setting or record, so its length fits into four bytes
    to.extend([&b"X"[..], &(value.len() as u32).to_le_bytes(), value.as_bytes()].concat());
}

/// Writes `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)`.
fn tensor(to: &mut Vec<u8>, StoredTensor { key, kind, shape }: &StoredTensor) {
    let size = |to: &mut Vec<u8>, n: &usize| int(to, *n as i64);
    to.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
    text(to, "storage");
    to.extend(format!("ctorch\n{kind}\n").bytes());
    text(to, key);
    text(to, "cpu");
    size(to, &shape.iter().product());
    to.extend(b"tQ");
    int(to, 0);
    tuple(to, shape, size);
    tuple(to, &strides(shape), size);
    to.extend(b"\x89ccollections\nOrderedDict\n)RtR");
}

/// Row-major strides; axes of size 0 count as 1.
fn strides(shape: &[usize]) -> Vec<usize> {
    (1..=shape.len()).map(|i| shape[i..].iter().map(|d| (*d).max(1)).product()).collect()
}
