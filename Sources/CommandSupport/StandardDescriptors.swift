import Glibc

/// Descriptors 0 to 2, without which a program may be started.
package enum StandardDescriptors {
  /// Takes those that are closed, so that no file or pipe of the program's becomes its standard output. Reading from them
  /// and writing to them fails as it did. To be called first of all.
  package static func occupy() {
    for number in STDIN_FILENO...STDERR_FILENO where fcntl(number, F_GETFD) == -1 {
      // The lowest one that is free is taken.
      _ = unsafe open("/dev/null", number == STDIN_FILENO ? O_WRONLY : O_RDONLY)
    }
  }
}
