//! Pickles that no PyTorch program would write: each must be an error, with little time and memory.

use super::py_value::PyValue;
use super::{pickle, Reader, Settings};
use crate::Result;
use std::time::{Duration, Instant};

fn refuse(bytes: &[u8], words: &str) {
    let message = pickle::read(bytes).err().unwrap().to_string();
    assert!(message.contains(words), "{message}");
}

/// A tensor of `FloatStorage` "0" with four elements, with this shape and these strides, as PyTorch
/// pickles it.
fn tensor(shape: &[u32], strides: &[u32], offset: u32) -> Vec<u8> {
    let number = |n: &u32| [&b"J"[..], &n.to_le_bytes()].concat();
    let tuple =
        |list: &[u32]| [vec![b'('], list.iter().flat_map(number).collect(), vec![b't']].concat();
    [
        &b"ctorch._utils\n_rebuild_tensor_v2\n(("[..],
        b"X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ",
        &number(&offset),
        &tuple(shape),
        &tuple(strides),
        b"\x89ccollections\nOrderedDict\n)RtR",
    ]
    .concat()
}

/// A PyTorch file with this pickle, and four f32 values in storage "0".
fn file(pickled: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for (name, content) in [("a/data.pkl", pickled), ("a/data/0", vec![0; 16])] {
        let (length, name_length) =
            ((content.len() as u32).to_le_bytes(), (name.len() as u16).to_le_bytes());
        let sizes = [&[0u8; 4][..], &length, &length, &name_length, &[0; 2]].concat();
        let start = (bytes.len() as u32).to_le_bytes();
        directory.extend(
            [&b"PK\x01\x02"[..], &[0; 12], &sizes, &[0; 10], &start, name.as_bytes()].concat(),
        );
        bytes.extend([&b"PK\x03\x04"[..], &[0; 10], &sizes, name.as_bytes(), &content].concat());
    }
    let (offset, length) =
        ((bytes.len() as u32).to_le_bytes(), (directory.len() as u32).to_le_bytes());
    let end = [&b"PK\x05\x06"[..], &[0; 4], &[2, 0, 2, 0], &length, &offset, &[0; 2]].concat();
    [bytes, directory, end].concat()
}

fn read(tensor: &[u8]) -> Result<Vec<usize>> {
    let pickled = [b"\x80\x02}X\x01\0\0\0x", tensor, b"s."].concat();
    let file = super::read_file(&file(pickled), false)?;
    Ok(file.tensors[0].1.dims().to_vec())
}

#[test]
fn a_view_must_stay_within_its_storage() {
    assert_eq!(read(&tensor(&[2, 2], &[2, 1], 0)).unwrap(), [2, 2]);
    assert_eq!(read(&tensor(&[3, 5], &[1, 0], 1)).unwrap(), [3, 5]);
    for (shape, strides, offset) in [
        (&[5][..], &[1][..], 0),
        (&[4], &[1], 1),
        (&[2, 2], &[3, 1], 0),
        (&[1], &[1], u32::MAX >> 1),
        (&[2], &[u32::MAX >> 1], 0),
        (&[u32::MAX >> 1, u32::MAX >> 1, u32::MAX >> 1], &[0, 0, 0], 0),
        (&[u32::MAX >> 1, u32::MAX >> 1, u32::MAX >> 1, 0], &[0, 0, 0, 0], 0),
        (&[u32::MAX], &[1], 0),
    ] {
        let message = read(&tensor(shape, strides, offset)).unwrap_err().to_string();
        assert!(
            message.contains("tensor `x`") || message.contains("a tensor is described"),
            "{message}"
        );
    }
    let message = read(&tensor(&[1 << 30], &[0], 0)).unwrap_err().to_string();
    assert!(message.contains("repeat their values"), "{message}");
    refuse(&tensor(&[1; 65], &[1; 65], 0), "a tensor is described in a way");
    refuse(&tensor(&[1, 1], &[1], 0), "a tensor is described in a way");
}

#[test]
fn depth_and_cycles_are_no_matter() {
    let deep = [vec![b']'; 200_000], vec![b'a'; 199_999], b".".to_vec()].concat();
    assert!(matches!(pickle::read(&deep).unwrap().values.first(), Some(PyValue::List(_))));
    let cycle = pickle::read(b"}q\0X\x01\0\0\0xh\0s.").unwrap();
    assert_eq!(cycle.root, 0);
    refuse(&vec![b'('; 100_000], "ends too early");
    // each tuple contains the one before it twice: copied, it would have 2^1000 parts
    let doubled = [&b")"[..], &b"q\0h\0\x86".repeat(1000), b"."].concat();
    assert!(pickle::read(&doubled).is_ok());
}

#[test]
fn a_tensor_that_is_asked_for_again_and_again_is_refused() {
    let once = tensor(&[1; 60], &[1; 60], 0);
    // function and arguments come from the memo: each call costs six bytes, and creates a shape of
    // sixty axes
    let arguments =
        [&once[b"ctorch._utils\n_rebuild_tensor_v2\n".len()..once.len() - 1], b"q\x01"].concat();
    let many = [
        &b"ctorch._utils\n_rebuild_tensor_v2\nq\0"[..],
        &arguments,
        &b"0h\0h\x01R".repeat(5000),
        b".",
    ]
    .concat();
    refuse(&many, "more tensors than its size allows");
}

/// Peak memory of this process in KiB, if the system reports it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The entries `from..to` of a dict, with numbers as keys, and all with the same value.
fn numbered(from: usize, to: usize, value: &[u8]) -> Vec<u8> {
    let entry = |n: usize| {
        [&b"\x8c"[..], &[n.to_string().len() as u8], n.to_string().as_bytes(), value].concat()
    };
    (from..to).flat_map(entry).collect()
}

#[test]
fn a_dict_with_many_names_is_looked_at_once() {
    let once = [
        &b"}q\0("[..],
        &numbered(0, 1, &tensor(&[4], &[1], 0)),
        b"q\x01",
        &numbered(1, 20_000, b"h\x01"),
        b"u",
    ];
    let pickled =
        [b"\x80\x02}(", &numbered(0, 1, &once.concat())[..], &numbered(1, 20_000, b"h\0"), b"u."]
            .concat();
    let file = file(pickled);
    assert!(file.len() < 400_000, "{} bytes", file.len());
    let read = |bytes: &[u8], key: Option<&str>| {
        let file = super::read_with(
            bytes,
            Settings { key: key.map(str::to_string), ..Settings::default() },
        );
        file.map(|file| file.tensors.len()).map_err(|e| e.to_string())
    };
    let (started, before) = (Instant::now(), peak_memory());
    for (key, words) in [
        (None, "option `key`: `0` (tensors: 20000), "),
        (Some("x"), "named `x`; it has: `0` (tensors: 20000), "),
    ] {
        let message = read(&file, key).unwrap_err();
        assert!(message.contains(words) && message.ends_with(" and 19992 more"), "{message}");
    }
    assert_eq!(read(&file, Some("19999")), Ok(20_000));
    // the end is missing, so the pickle is examined to explain the error
    let cut = &file[..file.len() - 1];
    assert!(read(cut, None).is_err_and(|message| message.contains("cut short")));
    assert!(read(&file[..file.len() - 150], Some("5"))
        .is_err_and(|message| message.contains("tensor `0`, at the latest")));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    if let (Some(before), Some(after)) = (before, peak_memory()) {
        assert!(after - before < 512 << 10, "{} MiB", (after - before) >> 10);
    }
}

#[test]
fn a_tensor_with_many_names_is_refused_where_its_shape_is_long() {
    let names = |count| numbered(1, count, b"h\x01");
    let of = |axes: usize, count| {
        let first = numbered(0, 1, &tensor(&vec![1; axes], &vec![1; axes], 0));
        super::read_file(
            &file([&b"\x80\x02}("[..], &first, b"q\x01", &names(count), b"u."].concat()),
            false,
        )
    };
    assert_eq!(of(4, 50_000).unwrap().tensors.len(), 50_000);
    let message = of(60, 50_000).err().unwrap().to_string();
    assert!(message.contains("more tensors than its size allows"), "{message}");
}

#[test]
fn whatever_else_weights_only_takes_is_passed_over_or_read() {
    let read = |pickled: &[u8]| {
        let file = super::read_file(&file([&b"\x80\x02}("[..], pickled, b"u."].concat()), false);
        file.map(|file| file.tensors).map_err(|e| e.to_string())
    };
    let named =
        |name: &str| [b"X", &(name.len() as u32).to_le_bytes()[..], name.as_bytes()].concat();
    let (weight, key) = (tensor(&[2, 2], &[2, 1], 0), named("w"));
    for other in [
        &b"ctorch\nFloatTensor\n"[..],
        b"ctorch.cuda\nHalfTensor\n",
        b"ctorch.cuda\nFloatStorage\n",
        b"ctorch.sparse\nDoubleTensor\n",
        b"ctorch.storage\nTypedStorage\n",
        b"ctorch\nSize\n)R",
        b"ctorch\nSize\n](K\x02K\x03e\x85R",
        b"\x96\x02\0\0\0\0\0\0\0ab",
        b"\x8e\x02\0\0\0\0\0\0\0ab",
        &[&b"\x8b\x2c\x01\0\0"[..], &[1; 300]].concat(),
    ] {
        let tensors = read(&[&named("o"), other, &key, &weight].concat()).unwrap();
        assert_eq!((tensors.len(), tensors[0].0.as_str()), (1, "w"));
    }
    // of two values of a key, the last one counts, in the position of the first
    let twice =
        [&key, &weight[..], &named("b"), &tensor(&[1], &[1], 0), &key, &tensor(&[3], &[1], 1)]
            .concat();
    let tensors = read(&twice).unwrap();
    let found: Vec<_> =
        tensors.iter().map(|(name, t)| (name.as_str(), t.dims().to_vec())).collect();
    assert_eq!(found, [("w", vec![3]), ("b", vec![1])]);
}

#[test]
fn bytes_without_a_type_are_u8() {
    let untyped = [
        &b"\x80\x02}X\x01\0\0\0xctorch._utils\n_rebuild_tensor_v2\n(("[..],
        b"X\x07\0\0\0storagectorch.storage\nUntypedStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x10tQ",
        b"K\x02K\x04\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtRs.",
    ];
    let tensors = super::read_file(&file(untyped.concat()), false);
    let tensors = tensors.unwrap().tensors;
    assert_eq!((tensors[0].1.dtype(), tensors[0].1.dims()), (crate::DType::U8, &[4][..]));
}

#[test]
fn what_is_no_pickle_of_pytorch_is_refused() {
    for (bytes, words) in [
        (&b""[..], "ends too early"),
        (b".", "its stack is empty"),
        (b"\xff", "0xff is no instruction"),
        (b"t.", "a mark is missing"),
        (b"(a.", "its stack is empty"),
        (b"h\x05.", "refers to a value that is not there"),
        (b"NNs.", "its stack is empty"),
        (b"NNNs.", "takes none"),
        (b"X\xff\xff\xff\x7fabc.", "ends too early"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.", "ends too early"),
        (b"NQ.", "a storage is described"),
        (b"N)R.", "no function"),
        (b"ccollections\nOrderedDict\nNR.", "no function"),
        (b"ccollections\nOrderedDict\nN\x85R.", "does not take"),
        (b"cbuiltins\neval\n.", "`builtins.eval`"),
        (b"cposix\nsystem\nX\x02\0\0\0ls\x85R.", "`posix.system`"),
        (b"\x8c\x08builtins\x8c\x04exec\x93.", "`builtins.exec`"),
        (b"ctorch.storage\n_load_from_bytes\n.", "`torch.storage._load_from_bytes`"),
        (b"ctorch\nload\n.", "`torch.load`"),
        (b"c\n\n.", "Nothing in the file was executed"),
        (b"Nb.", "its stack is empty"),
        (b"NNb.", "gives attributes"),
    ] {
        refuse(bytes, words);
    }
}

#[test]
fn a_reader_takes_only_what_it_has_asked_for() {
    let mut reader = Reader::new(Settings { size: Some(10), ..Settings::default() });
    assert_eq!(reader.feed(&[0; 11]).unwrap_err().code(), "internal");
    assert_eq!(reader.feed(b"\x02\0\0\0\0\0\0\0{}").map(|()| reader.next()).unwrap(), None);
    assert_eq!(reader.feed(b"more").unwrap_err().code(), "internal");
    assert!(reader.finish().unwrap().tensors.is_empty());
    let failed = Reader::new(Settings::default());
    assert_eq!(failed.finish().err().unwrap().code(), "internal");
}
