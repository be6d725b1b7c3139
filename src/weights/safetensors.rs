//! The safetensors container.

use safetensors::{Dtype as StDtype, SafeTensors};

use super::{Dtype, RawTensor};
use crate::error::{Error, Result};

/// The tensors of the file in `bytes`.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<(String, RawTensor)>> {
    if bytes.get(8) != Some(&b'{') {
        return Err(Error::weights_format(
            "neither a torch.save archive nor safetensors; expected CLIP4Clip's pytorch_model.bin or a .safetensors file",
        ));
    }
    let file = SafeTensors::deserialize(bytes)
        .map_err(|e| Error::weights_format(format_args!("the safetensors file is damaged or cut short: {e}")))?;
    let mut out = Vec::new();
    for (name, view) in file.iter() {
        let dtype = dtype(view.dtype())
            .ok_or_else(|| Error::weights_format(format_args!("`{name}` has element type {:?}", view.dtype())))?;
        let start = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
        let shape = view.shape().to_vec();
        let strides = contiguous(&shape);
        let tensor = strides
            .and_then(|strides| RawTensor::new(dtype, start, view.data().len(), 0, shape, strides))
            .ok_or_else(|| Error::weights_format(format_args!("`{name}` reaches beyond its data")))?;
        out.push((name.to_string(), tensor));
    }
    Ok(out)
}

fn dtype(dtype: StDtype) -> Option<Dtype> {
    Some(match dtype {
        StDtype::F64 => Dtype::F64,
        StDtype::F32 => Dtype::F32,
        StDtype::F16 => Dtype::F16,
        StDtype::BF16 => Dtype::Bf16,
        StDtype::I64 | StDtype::U64 => Dtype::Int(8),
        StDtype::I32 | StDtype::U32 => Dtype::Int(4),
        StDtype::I16 | StDtype::U16 => Dtype::Int(2),
        StDtype::I8 | StDtype::U8 | StDtype::BOOL => Dtype::Int(1),
        _ => return None,
    })
}

fn contiguous(shape: &[usize]) -> Option<Vec<usize>> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = shape[i].checked_mul(strides[i])?;
    }
    Some(strides)
}
