import ArgumentParser
import CanonicalJSON
import FileAccess
import Glibc
import SharedPack
import TreeStore

extension StoreCommand {
  struct Export: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Write documents of a store, with all that was encoded of them, into one file.",
      discussion: """
        sharedpack store export library -o library.spx
        sharedpack store export library 'letters/*' -o - | ssh host sharedpack store import copy -

        Two stores have the same content exactly if their exports have the same bytes.
        """)

    @Argument(help: "The store.", completion: .directory)
    var store: String

    @Argument(help: "Names of documents; * stands for any characters, ? for one. (default: all)")
    var patterns: [String] = []

    @Option(name: .shortAndLong, help: ArgumentHelp("The file, or - for standard output.", valueName: "file"))
    var output: String

    @Option(help: ArgumentHelp("How to show progress on standard error: auto, plain or none.", valueName: "mode"))
    var progress = ProgressMode.auto

    func run() throws {
      let store = try TreeStore(opening: store)
      let patterns = patterns.map { NamePattern($0) }
      for pattern in patterns where try store.documents(matching: pattern).isEmpty {
        throw Refusal(
          .missingDocument, file: store.path, structure: "document \"\(pattern.text)\"", "is not in the store")
      }
      let total = try store.statistics().uniqueChunks
      let bar = SharedProgress("Exporting", mode: progress)
      // A file appears when it is whole.
      let file = output == "-" ? nil : ExportFile(try PublishedFile(creating: output, mode: 0o600, unnamed: true))
      let report = try StoreExport.write(store, matching: patterns) { (bytes, chunks) throws(Refusal) in
        if let file { try file.append(bytes) } else { try StandardBytes.write(bytes) }
        bar.update(chunks, of: total)
      }
      try file?.publish()
      bar.finish()
      Console.error(
        "\(output == "-" ? "standard output" : output): \(Format.count(report.documentCount, "document")), "
          + "\(Format.count(report.chunkCount, "chunk")), \(Format.bytes(report.byteCount))")
    }
  }

  struct Import: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Read an export into a store.",
      discussion: """
        sharedpack store import library library.spx

        Everything is checked before it is stored, and documents come last: of an export
        that is cut no document is stored whose chunks are not. Goes on where it was stopped.
        """)

    @Argument(help: "The store; created if it does not exist.", completion: .directory)
    var store: String

    @Argument(help: "The export, or - for standard input.", completion: .file())
    var file: String

    @Option(
      help: ArgumentHelp(
        "Compress new blocks: none, lz4 or zstd. Compressed blocks are not mapped.", valueName: "method"))
    var compress = CompressionArgument.none

    @Flag(help: "Replace a document that has the name of another text.")
    var replace = false

    @OptionGroup var output: OutputOptions

    func run() throws {
      let bar = SharedProgress("Importing", mode: output.progress)
      var report: ExportReport
      if file == "-" {
        var reader = StoreImport("standard input") { (count) throws(Refusal) in try StandardBytes.read(count) }
        report = try reader.read(into: store, replacing: replace, compression: compress.compression)
      } else {
        let bytes = try ImportFile(file)
        var reader = StoreImport(file) { (count) throws(Refusal) in try bytes.read(count) }
        report = try reader.read(into: store, replacing: replace, compression: compress.compression) {
          bar.update($0, of: bytes.byteCount)
        }
      }
      bar.finish()
      if output.json {
        Console.output(
          .members([
            "store": .string(store), "documents": .integer(report.documentCount),
            "same": .integer(report.sameDocumentCount), "chunks": .integer(report.chunkCount),
            "bytes": .integer(report.byteCount),
          ]))
      } else {
        Console.output(
          "\(store): \(Format.count(report.documentCount, "document")) imported, \(report.sameDocumentCount) of them "
            + "there already; \(Format.count(report.chunkCount, "chunk")), \(Format.bytes(report.byteCount))")
      }
    }
  }
}

/// A file that is written piece by piece by a closure.
private final class ExportFile {
  private var file: PublishedFile

  init(_ file: consuming PublishedFile) { self.file = file }

  func append(_ bytes: [UInt8]) throws(Refusal) { try file.append(bytes) }
  func publish() throws(Refusal) { try file.publish() }
}

/// A file that is read piece by piece by a closure.
private final class ImportFile {
  private let file: SequentialFile
  private var offset = 0
  var byteCount: Int { file.byteCount }

  init(_ path: String) throws(Refusal) { file = try SequentialFile(path) }

  func read(_ count: Int) throws(Refusal) -> [UInt8] {
    var piece = [UInt8](repeating: 0, count: min(count, file.byteCount - offset))
    guard !piece.isEmpty else { return [] }
    var span = piece.mutableSpan
    var bytes = unsafe span.mutableBytes
    try file.read(at: offset, into: &bytes)
    offset += piece.count
    return piece
  }
}

/// Bytes of the standard streams.
private enum StandardBytes {
  static func write(_ bytes: [UInt8]) throws(Refusal) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = unsafe rest.withUnsafeBytes { unsafe Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
      if count < 0 {
        if errno == EINTR { continue }
        throw Refusal(.inputOutput, file: "standard output", unsafe String(cString: strerror(errno)))
      }
      rest = rest.dropFirst(count)
    }
  }

  static func read(_ count: Int) throws(Refusal) -> [UInt8] {
    var piece = [UInt8](repeating: 0, count: count)
    while true {
      let taken = unsafe piece.withUnsafeMutableBytes { unsafe Glibc.read(STDIN_FILENO, $0.baseAddress, $0.count) }
      if taken < 0 {
        if errno == EINTR { continue }
        throw Refusal(.inputOutput, file: "standard input", unsafe String(cString: strerror(errno)))
      }
      return Array(piece[..<taken])
    }
  }
}
