import FileAccess
import Foundation
import Testing
import TinyCheckpoint

/// What a command has done.
struct Outcome {
  var status: Int32
  var output: String
  var error: String
}

/// A directory in which the built program runs, with all that its arguments name; removed with its last user.
final class Workplace: Sendable {
  let path: String

  static let text = "the pack holds the weights, the store holds the trees, and a question reads both of them"

  /// Makes a checkpoint, `model.spk`, `plain.spk`, `notes.txt`, and things that are wrong.
  init() throws {
    path = try Directory.temporary("sharedpack-command")
    for name in ["checkpoint", "plain", "empty", "letters"] { try Directory.create("\(path)/\(name)") }
    try TinyCheckpoint.write(to: "\(path)/checkpoint")
    try TinyCheckpoint.write(to: "\(path)/plain", injectionPlace: nil)
    try write(Array(Self.text.utf8), to: "notes.txt")
    try write(Array((Self.text + " or so").utf8), to: "letters/first.txt")
    try write([], to: "zero.txt")
    try write([0x61, 0xFF, 0x00], to: "binary")
    try #require(run("convert", "checkpoint", "model.spk").status == 0)
    try #require(run("convert", "plain", "plain.spk").status == 0)
  }

  deinit {
    try? Directory.removeTree(path)
    try? Directory.removeTree("\(path)-cache")
  }

  func write(_ bytes: [UInt8], to name: String) throws {
    try Data(bytes).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
  }

  /// Runs the program that was built beside these tests.
  /// - Parameter output: a file for its standard output; nil returns it.
  func run(_ arguments: [String], input: [UInt8] = [], output: String? = nil) throws -> Outcome {
    // Files, not pipes: a full pipe would wait for its reader.
    let folder = "\(path)/.run-\(UInt64.random(in: .min ... .max))"
    try Directory.create(folder)
    defer { try? Directory.removeTree(folder) }
    let (inputPath, outputPath, errorPath) = ("\(folder)/in", output ?? "\(folder)/out", "\(folder)/err")
    try Data(input).write(to: URL(fileURLWithPath: inputPath))
    if output == nil { try Data().write(to: URL(fileURLWithPath: outputPath)) }
    try Data().write(to: URL(fileURLWithPath: errorPath))
    let process = process(arguments)
    process.standardInput = try FileHandle(forReadingFrom: URL(fileURLWithPath: inputPath))
    process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: outputPath))
    process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: errorPath))
    try process.run()
    process.waitUntilExit()
    func text(_ path: String) throws -> String {
      String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
    }
    return Outcome(
      status: process.terminationStatus, output: output == nil ? try text(outputPath) : "", error: try text(errorPath))
  }

  /// The program that was built beside these tests, to be run here.
  func process(_ arguments: [String]) -> Process {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
      .deletingLastPathComponent().appendingPathComponent("sharedpack")
    process.arguments = arguments
    process.currentDirectoryURL = URL(fileURLWithPath: path)
    process.environment = ProcessInfo.processInfo.environment.merging(
      ["COLUMNS": "80", "XDG_CACHE_HOME": "\(path)-cache"]) { $1 }
    return process
  }

  func run(_ arguments: String...) throws -> Outcome { try run(arguments) }
}
