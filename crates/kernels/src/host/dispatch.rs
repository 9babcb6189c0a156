//! Which kernel takes an array, by its device and type.

/// Runs `$fast` with `$T` as the element type where the CPU kernels take `$array`, else `$slow`.
macro_rules! dispatch {
    ($array:expr, $T:ident => $fast:expr, else $slow:expr) => {
        match $array.dtype() {
            $crate::DType::F32 if $array.device().is_cpu() => {
                type $T = f32;
                $fast
            }
            $crate::DType::F64 if $array.device().is_cpu() => {
                type $T = f64;
                $fast
            }
            _ => {
                // candle does not look whether there is room: for a copy in row-major order, and for the result
                $crate::memory::alloc::check_like(&$array, $array.dtype(), 2)?;
                $slow
            }
        }
    };
}
pub(crate) use dispatch;

/// [`dispatch`] for every type of number that tensors have.
macro_rules! dispatch_all {
    ($array:expr, $T:ident => $fast:expr, else $slow:expr) => {{
        use $crate::DType;
        macro_rules! run {
            ($type:ty) => {{
                type $T = $type;
                $fast
            }};
        }
        match $array.dtype() {
            _ if !$array.device().is_cpu() => $slow,
            DType::U8 => run!(u8),
            DType::U32 => run!(u32),
            DType::I64 => run!(i64),
            DType::F16 => run!(half::f16),
            DType::BF16 => run!(half::bf16),
            DType::F32 => run!(f32),
            DType::F64 => run!(f64),
            _ => $slow,
        }
    }};
}
pub(crate) use dispatch_all;
