//! The types of values in files, and the types that they are converted to.

use super::float8;
use crate::DType;

/// The type of a value in a file, little-endian. Integers of other widths than i64 and u8 become
/// i64, and 8-bit floats become f32. All are represented exactly, but values of u64 from 2^63 on,
/// which are an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// 64-bit floating point.
    F64,
    /// 32-bit floating point.
    F32,
    /// 16-bit floating point, IEEE half precision.
    F16,
    /// 16-bit floating point with the exponent range of f32.
    Bf16,
    /// 8-bit floating point.
    F8(float8::Format),
    /// Signed 64-bit integer.
    I64,
    /// Signed 32-bit integer.
    I32,
    /// Signed 16-bit integer.
    I16,
    /// Signed 8-bit integer.
    I8,
    /// Unsigned 64-bit integer.
    U64,
    /// Unsigned 32-bit integer.
    U32,
    /// Unsigned 16-bit integer.
    U16,
    /// Unsigned 8-bit integer.
    U8,
    /// Boolean, one byte.
    Bool,
}

use float8::Format::{E4m3Fn, E4m3Fnuz, E5m2, E5m2Fnuz, E8m0};

/// For each type the name in safetensors, the name of PyTorch's storage class (newer types have
/// none), and the name of PyTorch's dtype.
const NAMES: [(&str, &str, &str, Element); 18] = [
    ("F64", "DoubleStorage", "float64", Element::F64),
    ("F32", "FloatStorage", "float32", Element::F32),
    ("F16", "HalfStorage", "float16", Element::F16),
    ("BF16", "BFloat16Storage", "bfloat16", Element::Bf16),
    ("I64", "LongStorage", "int64", Element::I64),
    ("I32", "IntStorage", "int32", Element::I32),
    ("I16", "ShortStorage", "int16", Element::I16),
    ("I8", "CharStorage", "int8", Element::I8),
    ("U8", "ByteStorage", "uint8", Element::U8),
    ("BOOL", "BoolStorage", "bool", Element::Bool),
    ("U64", "", "uint64", Element::U64),
    ("U32", "", "uint32", Element::U32),
    ("U16", "", "uint16", Element::U16),
    ("F8_E4M3", "", "float8_e4m3fn", Element::F8(E4m3Fn)),
    ("F8_E5M2", "", "float8_e5m2", Element::F8(E5m2)),
    ("F8_E4M3FNUZ", "", "float8_e4m3fnuz", Element::F8(E4m3Fnuz)),
    ("F8_E5M2FNUZ", "", "float8_e5m2fnuz", Element::F8(E5m2Fnuz)),
    ("F8_E8M0", "", "float8_e8m0fnu", Element::F8(E8m0)),
];

/// Types of safetensors that no type of this library represents.
const OTHERS: [&str; 4] = ["C64", "F4", "F6_E2M3", "F6_E3M2"];

/// Types of PyTorch that no type of this library represents.
const TORCH_OTHERS: [&str; 29] = [
    "complex32",
    "bcomplex32",
    "complex64",
    "complex128",
    "float4_e2m1fn_x2",
    "bits8",
    "bits16",
    "bits1x8",
    "bits2x4",
    "bits4x2",
    "qint8",
    "qint32",
    "quint8",
    "quint4x2",
    "quint2x4",
    "uint1",
    "uint2",
    "uint3",
    "uint4",
    "uint5",
    "uint6",
    "uint7",
    "int1",
    "int2",
    "int3",
    "int4",
    "int5",
    "int6",
    "int7",
];

impl Element {
    /// The type with this name in safetensors.
    pub fn of_safetensors(name: &str) -> Option<Self> {
        NAMES.iter().find(|row| row.0 == name).map(|row| row.3)
    }

    /// Whether this is a type of safetensors that no type of this library represents.
    pub fn is_foreign(name: &str) -> bool {
        OTHERS.contains(&name)
    }

    /// The type of PyTorch's storage class with this name.
    pub fn of_storage(name: &str) -> Option<Self> {
        NAMES.iter().find(|row| row.1 == name && !name.is_empty()).map(|row| row.3)
    }

    /// The type of PyTorch's dtype with this name.
    pub fn of_torch(name: &str) -> Option<Self> {
        NAMES.iter().find(|row| row.2 == name).map(|row| row.3)
    }

    /// The name of a dtype of PyTorch, whether its values can be read or not.
    pub fn torch_name(name: &str) -> Option<&'static str> {
        NAMES.iter().map(|row| row.2).chain(TORCH_OTHERS).find(|own| *own == name)
    }

    /// The name of PyTorch's storage class for arrays of this type.
    pub fn storage_of(dtype: DType) -> Option<&'static str> {
        let own = |row: &&(&str, &'static str, &str, Element)| {
            !row.1.is_empty() && row.3.dtype(false) == dtype
        };
        // the first row that becomes this type is the type itself
        NAMES.iter().find(own).map(|row| row.1)
    }

    /// Bytes per value in the file.
    pub fn size(self) -> usize {
        match self {
            Element::F64 | Element::I64 | Element::U64 => 8,
            Element::F32 | Element::I32 | Element::U32 => 4,
            Element::F16 | Element::Bf16 | Element::I16 | Element::U16 => 2,
            Element::F8(_) | Element::I8 | Element::U8 | Element::Bool => 1,
        }
    }

    /// The type of the tensor. `widen`: half precision becomes f32, the type of parameters.
    pub fn dtype(self, widen: bool) -> DType {
        match self {
            Element::F64 => DType::F64,
            Element::F16 if !widen => DType::F16,
            Element::Bf16 if !widen => DType::BF16,
            Element::F32 | Element::F16 | Element::Bf16 | Element::F8(_) => DType::F32,
            Element::I64 | Element::I32 | Element::I16 | Element::I8 => DType::I64,
            Element::U64 | Element::U32 | Element::U16 => DType::I64,
            Element::U8 | Element::Bool => DType::U8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_that_is_written_has_the_storage_of_its_own_size() {
        for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16, DType::I64, DType::U8] {
            let element = Element::storage_of(dtype).and_then(Element::of_storage).unwrap();
            assert_eq!((element.size(), element.dtype(false)), (dtype.size_in_bytes(), dtype));
        }
        assert_eq!(Element::of_storage(""), None);
    }
}
