import Foundation
import Glibc

/// Something that reads bytes from outside: whatever they are, it neither traps nor hangs nor takes much memory.
///
/// In a run of the tests it reads its seeds and the inputs that are kept for it. Where libFuzzer is linked in and
/// `SHAREDPACK_FUZZ_READER` names it, it reads what libFuzzer makes of those, until libFuzzer ends the process
/// (`Tools/verify/fuzz`).
package enum FuzzedReader {
  /// - Parameters:
  ///   - name: also of the file `Corpus/NAME.hex`, which has an input in each line.
  ///   - seeds: inputs that are right, or nearly.
  ///   - read: reads an input, and traps where something is wrong that is no refusal.
  package static func run(_ name: String, seeds: [[UInt8]], _ read: @escaping ([UInt8]) -> Void) throws {
    let environment = ProcessInfo.processInfo.environment
    let inputs = try seeds + kept(name)
    switch environment["SHAREDPACK_FUZZ_READER"] {
    case nil: for input in inputs { read(input) }
    case name:
      if let seeds = environment["SHAREDPACK_FUZZ_SEEDS"] {
        for (number, input) in inputs.enumerated() {
          try Data(input).write(to: URL(fileURLWithPath: "\(seeds)/seed-\(number)"))
        }
      }
      let arguments = (environment["SHAREDPACK_FUZZ_ARGUMENTS"] ?? name).split(separator: "\n").map { String($0) }
      LibFuzzer.run(arguments, read)
    default: break
    }
  }

  /// Bytes as many as a file that is right has, so that what is signed lies where it lay.
  package static func fit(_ bytes: [UInt8], to original: [UInt8]) -> [UInt8] {
    Array(bytes.prefix(original.count) + original.dropFirst(bytes.count))
  }

  /// Writes a new file in the place of what was there. It is not published: nothing is synchronized.
  package static func write(_ bytes: [UInt8], to path: String) {
    _ = unsafe unlink(path)
    let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    precondition(unsafe Glibc.write(descriptor, bytes, bytes.count) == bytes.count, "cannot write \(path)")
    close(descriptor)
  }

  /// The inputs that are kept for a reader.
  private static func kept(_ name: String) throws -> [[UInt8]] {
    guard let file = Bundle.module.url(forResource: name, withExtension: "hex", subdirectory: "Corpus") else {
      return []
    }
    return try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map { line in
      let digits = line.utf8.map { UInt8($0 - ($0 < UInt8(ascii: "a") ? UInt8(ascii: "0") : UInt8(ascii: "a") - 10)) }
      return stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }
  }
}

private enum LibFuzzer {
  private typealias Arguments = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
  private typealias Callback = @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
  private typealias Driver =
    @convention(c) (UnsafeMutablePointer<CInt>, UnsafeMutablePointer<Arguments?>, Callback) -> CInt

  /// The one reader of this process: what libFuzzer calls knows nothing else.
  nonisolated(unsafe) private static var read: ([UInt8]) -> Void = { _ in }

  /// Calls libFuzzer, which is not there in ordinary builds, as a program with these arguments.
  static func run(_ arguments: [String], _ read: @escaping ([UInt8]) -> Void) -> Never {
    guard let address = unsafe dlsym(nil, "LLVMFuzzerRunDriver") else {
      preconditionFailure("SHAREDPACK_FUZZ_READER is set and libFuzzer is not linked in: see Tools/verify/fuzz")
    }
    unsafe Self.read = read
    let driver = unsafe unsafeBitCast(address, to: Driver.self)
    // Both live as long as the process.
    let copies = Arguments.allocate(capacity: arguments.count + 1)
    for (number, argument) in arguments.enumerated() { unsafe copies[number] = strdup(argument) }
    unsafe copies[arguments.count] = nil
    var count = CInt(arguments.count)
    var list: Arguments? = unsafe copies
    let status = unsafe driver(&count, &list) { start, count in
      unsafe LibFuzzer.read(Array(UnsafeBufferPointer(start: start, count: count)))
      return 0
    }
    exit(status)
  }
}
