import FileAccess
import Foundation
import Glibc
import Testing

@testable import SharedPack

/// Which texts paths name, and what they are called.
@Suite struct DocumentSearchTests {
  let scratch: Scratch

  init() throws {
    scratch = try Scratch()
    for name in ["a", "a/b", "c"] { try Directory.create("\(scratch.path)/\(name)") }
    for name in ["a/x.txt", "a/b/y.txt", "a/.hidden", "z.txt"] { try scratch.write("text", to: name) }
  }

  private func find(
    _ paths: String..., change: (inout DocumentSearch) -> Void = { _ in }
  ) throws -> DocumentSearch.Found {
    var search = DocumentSearch()
    search.root = scratch.path
    change(&search)
    return try search.find(paths.map { "\(scratch.path)/\($0)" })
  }

  private func link(_ name: String, to target: String) throws {
    let made = unsafe symlink(target, "\(scratch.path)/\(name)")
    try #require(made == 0)
  }

  /// The same file has the same name, whichever way it was found, and is read once.
  @Test func oneNameForAFile() throws {
    for paths in [[""], ["a", "z.txt"], [".//a/", "./z.txt"], ["a/b/../x.txt", "a", "z.txt"], ["**"]] {
      var search = DocumentSearch()
      search.root = "\(scratch.path)/c/.."
      let found = try search.find(paths.map { "\(scratch.path)/\($0)" })
      #expect(Set(found.sources.map(\.name)) == ["a/b/y.txt", "a/x.txt", "z.txt"], "\(paths)")
      #expect(found.sources.count == 3)
      #expect(found.faults.isEmpty && found.skipped.isEmpty)
    }
    let ordered = try find("z.txt", "a").sources.map(\.name)
    #expect(ordered == ["z.txt", "a/b/y.txt", "a/x.txt"])
    // What lies elsewhere has its absolute path.
    let outside = try find("z.txt") { $0.root = "\(scratch.path)/a" }
    #expect(outside.sources.map(\.name) == ["\(scratch.path)/z.txt".dropFirst().description])
  }

  @Test func namesOfPaths() {
    let naming = DocumentNaming(current: "/home/me")
    for (path, name) in [
      ("x", "x"), ("./x", "x"), ("a//b/./c", "a/b/c"), ("../me/x", "x"), ("../x", "home/x"), ("/home/me/a/x", "a/x"),
      ("/etc/x", "etc/x"), ("../../../../x", "x"), (".", ""),
    ] { #expect(naming.name(of: path) == name, "\(path)") }
    let rooted = DocumentNaming(current: "/home/me", base: "notes")
    #expect(rooted.name(of: "notes/x") == "x")
    #expect(rooted.name(of: "x") == "home/me/x")
    #expect(rooted.name(of: "notesx") == "home/me/notesx")
  }

  /// Two files that would have one name.
  @Test func duplicateNames() throws {
    var folder = "\(scratch.path)/c"
    for part in scratch.path.split(separator: "/") {
      folder += "/\(part)"
      try Directory.create(folder)
    }
    try Scratch.write([0x61], path: "\(folder)/z.txt")
    var search = DocumentSearch()
    search.root = "\(scratch.path)/c"
    let found = try search.find(["\(folder)/z.txt", "\(scratch.path)/z.txt"])
    #expect(found.sources.count == 1)
    #expect(found.faults.map(\.name) == [.duplicateNaming])
  }

  @Test func missingPaths() throws {
    #expect(try find("no").faults.map(\.name.text) == ["missing-file"])
    #expect(try find("c").faults.map(\.name.text) == ["empty-document"])
    #expect(try find("c", "z.txt").faults.isEmpty)
    #expect(try find("*.text").faults.first?.fault == "matches no file")
    #expect(try find("no", "z.txt").sources.map(\.name) == ["z.txt"])
    let refused = #expect(throws: Refusal.self) { try DocumentSource.find(["\(scratch.path)/no"]) }
    #expect(refused?.name == .missingFile)
  }

  /// Links that go round in circles end, and a folder is read under its own name.
  @Test func linksToFolders() throws {
    try link("a/b/loop", to: "..")
    try link("a/a-link", to: "b")
    try link("a/dangling", to: "nowhere")
    try link("a/also.txt", to: "x.txt")
    let found = try find("a")
    #expect(found.sources.map(\.name) == ["a/also.txt", "a/b/y.txt", "a/x.txt"])
    #expect(found.faults.map(\.fault) == ["is a link that leads nowhere"])
    #expect(
      found.skipped == [
        .init(path: "\(scratch.path)/a/a-link", reason: .repeated(as: "\(scratch.path)/a/b")),
        .init(path: "\(scratch.path)/a/b/loop", reason: .repeated(as: "\(scratch.path)/a")),
      ])
  }

  @Test func whatIsNoText() throws {
    let made = unsafe mkfifo("\(scratch.path)/a/pipe", 0o600)
    try #require(made == 0)
    let model = try TinyModel().open(in: scratch)
    _ = try StoreBuilder(opening: "\(scratch.path)/a/store", model: model)
    let pack = try SequentialFile.contents(model.pack.path, limit: 1 << 24)
    try scratch.write(pack, to: "a/model.spk")
    try scratch.write("a text", to: "a/text.spk")
    let name = Array("\(scratch.path)/a/n\u{1}.txt".utf8).map { $0 == 1 ? 0xFF : $0 } + [0]
    let descriptor = unsafe name.withUnsafeBytes {
      unsafe open($0.baseAddress!.assumingMemoryBound(to: CChar.self), O_CREAT | O_WRONLY, 0o600)
    }
    try #require(close(descriptor) == 0)
    defer { unsafe name.withUnsafeBytes { unsafe _ = unlink($0.baseAddress!.assumingMemoryBound(to: CChar.self)) } }
    let found = try find("a") { $0.store = "\(scratch.path)/a/b" }
    #expect(found.sources.map(\.name) == ["a/text.spk", "a/x.txt"])
    #expect(found.faults.map(\.name) == [.nameNotUTF8])
    #expect(Set(found.skipped.map(\.reason)) == [.pipe, .store, .modelPack])
    #expect(found.skipped.count == 4)
  }

  @Test(arguments: [
    ("*", "a.txt", true), ("*.txt", "a.txt", true), ("*.txt", "a.md", false), ("a?c", "aéc", true),
    ("a?c", "ac", false), ("[a-c]x", "bx", true), ("[!a-c]x", "bx", false), ("[^a-c]x", "dx", true),
    ("[]x]", "]", true), ("[", "[", true), ("\\*", "*", true), ("\\*", "a", false), ("a*b*c", "aXbXbc", true),
    ("a*b*c", "aXbX", false), ("", "", true), ("*", "", true), ("[z-a]", "b", false),
    ("*a*a*a*a*b", "aaaaaaaaaaaa", false),
  ])
  func namePatterns(_ pattern: String, _ name: String, _ matches: Bool) {
    #expect(FileNamePattern(pattern).matches(name) == matches)
  }

  @Test func patterns() throws {
    for (pattern, names) in [
      ("*.txt", ["z.txt"]), ("a/*", ["a/b/y.txt", "a/x.txt"]), ("**/*.txt", ["a/b/y.txt", "a/x.txt", "z.txt"]),
      ("?/**/y*", ["a/b/y.txt"]), ("a/.h*", ["a/.hidden"]), ("[ab]/x.txt", ["a/x.txt"]),
      ("a/**", ["a/b/y.txt", "a/x.txt"]),
    ] { #expect(try find(pattern).sources.map(\.name) == names, "\(pattern)") }
    // A file that has such a name is meant.
    try scratch.write("text", to: "[ab].txt")
    #expect(try find("[ab].txt").sources.map(\.name) == ["[ab].txt"])
  }

  @Test func formsByName() {
    for name in ["a.jsonl", "a.NDJSON", "a.jsonl.gz", "a.ndjson.zst"] {
      #expect(DocumentWalk.form(of: name) == .jsonLines)
    }
    for name in ["a.json", "jsonl", "a.jsonl.txt", "a.txt.gz"] { #expect(DocumentWalk.form(of: name) == .text) }
  }
}
