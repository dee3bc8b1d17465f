import FileAccess
import Foundation
import SharedPack
import Testing

/// Files that are cut short while the program has them mapped: it says so, or is done already; it never ends by a signal.
@Suite(.serialized) struct CutFileTests {
  private static let workplace = Result { try Workplace() }

  /// Runs a command many times and cuts a file at a random moment each time, to a random length.
  /// - Parameter prepare: makes the file; returns its path and the arguments.
  private func cut(
    times: Int = 40, _ workplace: Workplace, prepare: (_ number: Int) throws -> (file: String, arguments: [String])
  ) throws {
    // How long it takes, and what is right.
    let (_, whole) = try prepare(-1)
    let start = ContinuousClock.now
    let right = try workplace.run(whole)
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    try #require(right.status == 0, "\(right.error)")
    for number in 0..<times {
      let (file, arguments) = try prepare(number)
      let byteCount = try #require(
        try FileManager.default.attributesOfItem(atPath: file)[.size] as? Int)
      let process = workplace.process(arguments)
      let (output, error) = ("\(workplace.path)/cut-\(number).out", "\(workplace.path)/cut-\(number).err")
      for path in [output, error] { try Data().write(to: URL(fileURLWithPath: path)) }
      process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: output))
      process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: error))
      try process.run()
      usleep(UInt32(Double.random(in: 0...1.2) * seconds * 1e6))
      _ = unsafe truncate(file, Int.random(in: 0..<byteCount))
      process.waitUntilExit()
      let said = String(decoding: try Data(contentsOf: URL(fileURLWithPath: error)), as: UTF8.self)
      #expect(process.terminationReason == .exit, "run \(number): signal \(process.terminationStatus)")
      #expect([0, 65, 74].contains(process.terminationStatus), "run \(number): \(process.terminationStatus), \(said)")
      #expect(
        said.split(separator: "\n").count == (process.terminationStatus == 0 ? right.error.lineCount : 1), "\(said)")
      if process.terminationStatus == 0 {
        let answer = String(decoding: try Data(contentsOf: URL(fileURLWithPath: output)), as: UTF8.self)
        #expect(answer == right.output, "run \(number)")
      }
    }
  }

  @Test func pack() throws {
    let workplace = try Self.workplace.get()
    try cut(workplace) { number in
      let file = "\(workplace.path)/pack\(number).spk"
      try FileManager.default.copyItem(atPath: "\(workplace.path)/plain.spk", toPath: file)
      return (file, ["generate", file, "the weights", "--max-tokens", "40", "--ignore-end"])
    }
  }

  @Test func segment() throws {
    let workplace = try Self.workplace.get()
    try #require(workplace.run("store", "build", "model.spk", "notes.txt", "--store", "uncut").status == 0)
    try cut(workplace) { number in
      let store = "\(workplace.path)/store\(number)"
      try FileManager.default.copyItem(atPath: "\(workplace.path)/uncut", toPath: store)
      let name = try #require(try Directory.names(in: "\(store)/segments").first { $0.hasSuffix(".seg") })
      let file = "\(store)/segments/\(name)"
      try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: file)
      return (
        file,
        [
          "ask", "model.spk", "--store", store, "--document", "notes.txt", "what holds", "--max-tokens", "40",
          "--ignore-end",
        ]
      )
    }
  }

  @Test(arguments: ["inspect", "verify"]) func examined(command: String) throws {
    let workplace = try Self.workplace.get()
    try cut(times: 15, workplace) { number in
      let file = "\(workplace.path)/\(command)\(number).spk"
      try FileManager.default.copyItem(atPath: "\(workplace.path)/plain.spk", toPath: file)
      // What is printed names the file.
      let name = "\(workplace.path)/\(command).spk"
      try? FileManager.default.removeItem(atPath: name)
      try FileManager.default.linkItem(atPath: file, toPath: name)
      return (file, [command, name])
    }
  }
}

extension String {
  fileprivate var lineCount: Int { split(separator: "\n").count }
}
