import ArgumentParser
import FileAccess
import Glibc

/// Starts the program that answers over HTTP, which lies beside this one.
struct ServeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve",
    abstract: "Answer over HTTP, as OpenAI's clients ask.",
    discussion: """
      sharedpack serve model.spk --store library

      Starts sharedpack-serve, which lies in the same folder and takes all that follows:
      `sharedpack serve --help` lists its options.
      """)

  @Argument(parsing: .captureForPassthrough, help: "What sharedpack-serve takes.")
  var arguments: [String] = []

  func run() throws {
    let program = try Self.program()
    var words = unsafe (["sharedpack-serve"] + arguments.drop { $0 == "--" }).map { unsafe strdup($0) }
    unsafe words.append(nil)
    unsafe execv(program, words)
    throw Refusal(
      .missingFile, file: program,
      errno == ENOENT
        ? "is not there: it is a program of its own (swift build -c release --product sharedpack-serve)"
        : "cannot be started: \(unsafe String(cString: strerror(errno)))")
  }

  /// The path of the program beside this one.
  private static func program() throws(Refusal) -> String {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = unsafe buffer.withUnsafeMutableBytes { bytes in
      unsafe readlink("/proc/self/exe", bytes.baseAddress!, bytes.count)
    }
    guard count > 0 else { throw Refusal(.missingFile, file: "/proc/self/exe", "says nothing of this program") }
    let path = String(decoding: buffer[..<count], as: UTF8.self)
    return "\(Directory.split(path).directory)/sharedpack-serve"
  }
}
