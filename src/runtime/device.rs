//! On which devices a model computes, and why not on others.
//!
//! The library is not linked with libtorch's CUDA half, so that it loads where there is none. It is loaded beside the libtorch that the
//! process has, once, when a model first asks for it; until then nothing here touches CUDA, and a process may fork.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use once_cell::sync::OnceCell;

use crate::error::{Error, Result, Status};
use crate::options::{Device, Devices};

/// How many CUDA devices there are, or why none can be used.
pub type Count = std::result::Result<usize, String>;

/// The devices to compute on, at least one, and for [`Devices::Auto`] why it is not a GPU. `count` is asked only where a GPU may be
/// taken, and `probe` whether one that is there computes.
///
/// # Errors
/// `Device` with the reason when a device that was named cannot be had.
pub(crate) fn resolve(
    wanted: &Devices,
    count: impl FnOnce() -> Count,
    probe: impl Fn(Device) -> std::result::Result<(), String>,
) -> Result<(Vec<Device>, Option<String>)> {
    let missing = |name: &str, why: &str| {
        Error::new(
            Status::Device,
            format_args!("options.device: `{name}` cannot be used: {why}; set \"auto\" or \"cpu\""),
        )
    };
    let devices: Vec<Device> = match wanted {
        Devices::Cpu => return Ok((vec![Device::Cpu], None)),
        Devices::Auto => {
            let first = Device::Cuda(0);
            let usable = count().and_then(|_| probe(first));
            return Ok(match usable {
                Ok(()) => (vec![first], None),
                Err(why) => (vec![Device::Cpu], Some(why)),
            });
        }
        Devices::EveryCuda => (0..count().map_err(|why| missing("cuda:*", &why))?).map(Device::Cuda).collect(),
        Devices::Cuda(numbers) => {
            let devices: Vec<Device> = numbers.iter().map(|&number| Device::Cuda(number)).collect();
            let there = count().map_err(|why| missing(&Device::names(&devices), &why))?;
            if let Some(number) = numbers.iter().find(|&&number| number >= there) {
                let why = format!("there are {there} CUDA devices, cuda:0 to cuda:{}", there - 1);
                return Err(missing(&format!("cuda:{number}"), &why));
            }
            devices
        }
    };
    devices.iter().try_for_each(|&device| probe(device).map_err(|why| missing(&device.to_string(), &why)))?;
    Ok((devices, None))
}

/// What was found, and by which process.
static FOUND: OnceCell<(u32, Count)> = OnceCell::new();

/// How many CUDA devices this process can use, at least one; else why not. Loads libtorch's CUDA half and wakes the driver; the answer
/// of the first call holds for the life of the process.
pub fn cuda_devices() -> Count {
    let (process, count) = FOUND.get_or_init(|| (std::process::id(), find(&Loader)));
    match count {
        Ok(_) if *process != std::process::id() => {
            Err("the process was forked after CUDA had been used in it; fork before that, or start a new program"
                .into())
        }
        count => count.clone(),
    }
}

/// Whether [`cuda_devices`] has found any.
pub(crate) fn cuda_is_in_use() -> bool {
    FOUND.get().is_some_and(|(process, count)| count.is_ok() && *process == std::process::id())
}

/// What is needed for CUDA, in the order in which it is looked for.
trait System {
    /// Whether there is a driver; it is not woken yet.
    fn driver(&self) -> std::result::Result<(), String>;
    /// The folder of the libtorch that this process has loaded.
    fn torch_folder(&self) -> std::result::Result<PathBuf, String>;
    /// Asks the driver, which says better than libtorch why there is no device.
    fn driver_devices(&self) -> std::result::Result<(), String>;
    fn load(&self, library: &Path) -> std::result::Result<(), String>;
    /// Devices by libtorch's word, at least one.
    fn count(&self) -> Count;
}

fn find(system: &impl System) -> Count {
    // The cheapest first: to wake a driver takes a tenth of a second, and libtorch's CUDA half is gigabytes.
    system.driver()?;
    let library = system.torch_folder()?.join("libtorch_cuda.so");
    if !library.exists() {
        return Err(format!(
            "this libtorch is one for CPUs: there is no {}; let libc4c find PyTorch's CUDA build of the same version",
            library.display()
        ));
    }
    system.driver_devices()?;
    system.load(&library).map_err(|why| format!("libtorch's CUDA half cannot be loaded: {why}"))?;
    system.count()
}

/// The process's own loader.
struct Loader;

impl System for Loader {
    fn driver(&self) -> std::result::Result<(), String> {
        open_driver().map(drop)
    }

    fn driver_devices(&self) -> std::result::Result<(), String> {
        driver_devices(open_driver()?)
    }

    fn torch_folder(&self) -> std::result::Result<PathBuf, String> {
        torch_folder()
    }

    fn load(&self, library: &Path) -> std::result::Result<(), String> {
        let name = CString::new(library.as_os_str().as_bytes()).map_err(|_| "its path has a zero byte".to_string())?;
        // Its operators register themselves, and libtorch finds its hooks among the global symbols.
        open(&name, libc::RTLD_NOW | libc::RTLD_GLOBAL).map(drop)
    }

    fn count(&self) -> Count {
        crate::gpu::count()
    }
}

fn open_driver() -> std::result::Result<*mut libc::c_void, String> {
    open(c"libcuda.so.1", libc::RTLD_NOW)
        .map_err(|why| format!("there is no NVIDIA driver in this machine or container ({why})"))
}

fn driver_devices(driver: *mut libc::c_void) -> std::result::Result<(), String> {
    type Init = unsafe extern "C" fn(u32) -> i32;
    type Count = unsafe extern "C" fn(*mut i32) -> i32;
    type Name = unsafe extern "C" fn(i32, *mut *const libc::c_char) -> i32;
    let symbol = |name: &CStr| {
        // SAFETY: `driver` is a handle that dlopen gave and nobody closes, and the name ends with a zero.
        let found = unsafe { libc::dlsym(driver, name.as_ptr()) };
        if found.is_null() {
            return Err(format!("libcuda.so.1 has no {}", name.to_string_lossy()));
        }
        Ok(found)
    };
    let (init, count, name) = (symbol(c"cuInit")?, symbol(c"cuDeviceGetCount")?, symbol(c"cuGetErrorString")?);
    // SAFETY: the CUDA driver API gives these functions these signatures, in all its versions.
    let (init, count, name) = unsafe {
        (
            std::mem::transmute::<*mut libc::c_void, Init>(init),
            std::mem::transmute::<*mut libc::c_void, Count>(count),
            std::mem::transmute::<*mut libc::c_void, Name>(name),
        )
    };
    /// CUDA_ERROR_NO_DEVICE
    const NO_DEVICE: i32 = 100;
    let mut devices = 0;
    // SAFETY: cuInit comes first, its flags must be 0, and cuDeviceGetCount writes one int.
    let result = unsafe {
        match init(0) {
            0 => count(&mut devices),
            failed => failed,
        }
    };
    match (result, devices) {
        (0, 1..) => Ok(()),
        (0, _) => Err("the NVIDIA driver shows no device (is CUDA_VISIBLE_DEVICES empty?)".into()),
        (code, _) => {
            let mut text = std::ptr::null();
            // SAFETY: cuGetErrorString takes any number and writes a constant string, or null for one that it does not know.
            let said = unsafe { (name(code, &mut text) == 0 && !text.is_null()).then(|| CStr::from_ptr(text)) };
            let hidden = if code == NO_DEVICE { "; is CUDA_VISIBLE_DEVICES empty?" } else { "" };
            let said = said.map_or("no text".into(), CStr::to_string_lossy);
            Err(format!("the NVIDIA driver says: {said} ({code}){hidden}"))
        }
    }
}

pub(crate) fn torch_folder() -> std::result::Result<PathBuf, String> {
    let unknown = || "it is not known where libtorch was loaded from".to_string();
    // SAFETY: an all-zero Dl_info is a valid one: null pointers.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: any address may be asked about; this one is of a function of libtorch_cpu.
    let found = unsafe { libc::dladdr(at_get_num_threads as *const libc::c_void, &mut info) };
    if found == 0 || info.dli_fname.is_null() {
        return Err(unknown());
    }
    // SAFETY: dladdr gave a name that lives as long as the library, which is never closed.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    Path::new(OsStr::from_bytes(name.to_bytes())).parent().map(Path::to_path_buf).ok_or_else(unknown)
}

extern "C" {
    /// `at::get_num_threads()`, by the name that C++ gives it.
    #[link_name = "_ZN2at15get_num_threadsEv"]
    fn at_get_num_threads();
}

fn open(name: &CStr, flags: libc::c_int) -> std::result::Result<*mut libc::c_void, String> {
    // SAFETY: the name ends with a zero. The library's initialisers run, which is what it is opened for.
    let handle = unsafe { libc::dlopen(name.as_ptr(), flags) };
    if !handle.is_null() {
        return Ok(handle);
    }
    // SAFETY: dlerror gives a string of this thread, good until its next dl call, or null.
    let why = unsafe { libc::dlerror() };
    Err(match why.is_null() {
        true => format!("{} cannot be opened", name.to_string_lossy()),
        // SAFETY: not null, and read before any other dl call.
        false => unsafe { CStr::from_ptr(why) }.to_string_lossy().into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(names: &str, count: Count) -> Result<(Vec<Device>, Option<String>)> {
        let probe = |device| match device {
            Device::Cuda(2) => Err("no kernel image".to_string()),
            _ => Ok(()),
        };
        resolve(&Devices::parse(names).unwrap(), || count, probe)
    }

    #[test]
    fn cpu_asks_nobody() {
        let asked = || -> Count { panic!("CUDA was asked") };
        assert_eq!(resolve(&Devices::Cpu, asked, |_| panic!("a GPU was tried")).unwrap(), (vec![Device::Cpu], None));
    }

    #[test]
    fn auto_falls_back_and_says_why() {
        assert_eq!(with("auto", Ok(2)).unwrap(), (vec![Device::Cuda(0)], None));
        assert_eq!(with("auto", Err("no driver".into())).unwrap(), (vec![Device::Cpu], Some("no driver".into())));
    }

    #[test]
    fn a_named_device_is_there_or_an_error_that_says_why() {
        assert_eq!(with("cuda:1", Ok(2)).unwrap().0, [Device::Cuda(1)]);
        assert_eq!(with("cuda:1,cuda:0", Ok(2)).unwrap().0, [Device::Cuda(1), Device::Cuda(0)]);
        assert_eq!(with("cuda:*", Ok(2)).unwrap().0, [Device::Cuda(0), Device::Cuda(1)]);
        for names in ["cuda:2", "cuda:*"] {
            let broken = with(names, Ok(3)).unwrap_err();
            assert_eq!(
                broken.message(),
                "options.device: `cuda:2` cannot be used: no kernel image; set \"auto\" or \"cpu\""
            );
        }
        let first = |_| Err("no kernel image".to_string());
        let auto = resolve(&Devices::Auto, || Ok(1), first).unwrap();
        assert_eq!(auto, (vec![Device::Cpu], Some("no kernel image".into())));
        let none = with("cuda", Err("no driver".into())).unwrap_err();
        assert_eq!(none.status(), Status::Device);
        assert_eq!(none.message(), "options.device: `cuda:0` cannot be used: no driver; set \"auto\" or \"cpu\"");
        let far = with("cuda:0,cuda:2", Ok(2)).unwrap_err();
        assert_eq!(far.status(), Status::Device);
        assert!(far.message().contains("`cuda:2`") && far.message().contains("cuda:0 to cuda:1"), "{far}");
        assert!(with("cuda:*", Err("no driver".into()))
            .unwrap_err()
            .message()
            .contains("`cuda:*` cannot be used: no driver"));
    }

    /// A system in which one thing or another is wrong.
    struct Fake {
        driver: Option<&'static str>,
        folder: PathBuf,
        devices: Option<&'static str>,
        library: Option<&'static str>,
        count: Count,
    }

    impl System for Fake {
        fn driver(&self) -> std::result::Result<(), String> {
            self.driver.map_or(Ok(()), |why| Err(why.into()))
        }

        fn torch_folder(&self) -> std::result::Result<PathBuf, String> {
            assert_eq!(self.driver, None, "libtorch was looked for in vain");
            Ok(self.folder.clone())
        }

        fn driver_devices(&self) -> std::result::Result<(), String> {
            assert!(self.folder.join("libtorch_cuda.so").exists(), "the driver was woken in vain");
            self.devices.map_or(Ok(()), |why| Err(why.into()))
        }

        fn load(&self, library: &Path) -> std::result::Result<(), String> {
            assert_eq!(library, self.folder.join("libtorch_cuda.so"));
            assert_eq!(self.devices, None, "libtorch was loaded in vain");
            self.library.map_or(Ok(()), |why| Err(why.into()))
        }

        fn count(&self) -> Count {
            assert_eq!(self.library, None, "CUDA was asked before its half of libtorch was there");
            self.count.clone()
        }
    }

    #[test]
    fn the_first_thing_that_is_missing_is_the_reason() {
        let (empty, full) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(full.path().join("libtorch_cuda.so"), "").unwrap();
        let good = || Fake { driver: None, folder: full.path().into(), devices: None, library: None, count: Ok(2) };
        let why = |fake: Fake| find(&fake).unwrap_err();
        assert_eq!(find(&good()), Ok(2));
        assert_eq!(why(Fake { driver: Some("no driver"), ..good() }), "no driver");
        let cpu_only = why(Fake { folder: empty.path().into(), ..good() });
        assert!(cpu_only.contains("one for CPUs") && cpu_only.contains(empty.path().to_str().unwrap()), "{cpu_only}");
        assert_eq!(why(Fake { devices: Some("no device"), ..good() }), "no device");
        let missing = why(Fake { library: Some("libcudnn.so.9: cannot open shared object file"), ..good() });
        assert_eq!(missing, "libtorch's CUDA half cannot be loaded: libcudnn.so.9: cannot open shared object file");
        assert_eq!(why(Fake { count: Err("libtorch says: no".into()), ..good() }), "libtorch says: no");
    }

    #[test]
    fn libtorch_is_found() {
        assert!(torch_folder().unwrap().join("libtorch_cpu.so").exists());
    }
}
