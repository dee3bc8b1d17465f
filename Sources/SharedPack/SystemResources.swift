import Glibc

enum SystemResources {
  /// Processors of the machine that are on. A process that may use fewer is told so with its number of threads.
  static var processorCount: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }
}
