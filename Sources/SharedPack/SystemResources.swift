import Glibc

enum SystemResources {
  /// Processors that this process may run on.
  static var processorCount: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }
}
