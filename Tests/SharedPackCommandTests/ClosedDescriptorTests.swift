import Foundation
import Testing

/// A program that is started without standard input, output or error takes none of its own files or pipes for them.
@Suite struct ClosedDescriptorTests {
  @Test(arguments: ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
  func build(_ closed: String) throws {
    let workplace = try Workplace()
    let build = workplace.process(["store", "build", "model.spk", "notes.txt", "--store", "library"])
    let program = try #require(build.executableURL?.path)
    build.executableURL = URL(fileURLWithPath: "/bin/sh")
    build.arguments = ["-c", "exec \"$0\" \"$@\" \(closed)", program] + (build.arguments ?? [])
    build.standardOutput = FileHandle.nullDevice
    build.standardError = FileHandle.nullDevice
    try build.run()
    build.waitUntilExit()
    #expect(build.terminationReason == .exit)
    // What was done cannot be said, and that is an error.
    #expect(build.terminationStatus == (closed.contains(" >&-") || closed.hasPrefix(">&-") ? 74 : 0))
    #expect(try workplace.run("verify", "library").status == 0)
    #expect(try workplace.run("store", "ls", "library").output.hasPrefix("notes.txt\t"))
    let lock = try FileManager.default.attributesOfItem(atPath: "\(workplace.path)/library/LOCK")
    #expect(lock[.size] as? Int == 0)
  }
}
