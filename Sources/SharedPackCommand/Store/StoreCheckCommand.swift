import ArgumentParser
import CanonicalJSON
import FileAccess
import SharedPack
import TreeStore

extension StoreCommand {
  struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "fsck", abstract: "Find all that is wrong with a store.",
      discussion: """
        sharedpack store fsck library

        Reads every byte, as `sharedpack verify` does, and goes on after a fault: files,
        chunks and the documents that need them, the catalog, permissions. Writes nothing,
        and works beside a build. Exits with 65 when anything is wrong.
        """)

    @Argument(help: "The store.", completion: .directory)
    var store: String

    @OptionGroup var output: OutputOptions

    func run() throws {
      let bar = SharedProgress("Checking", mode: output.progress)
      let found = try StoreRepair.examine(store) { bar.update($0, of: $1) }
      bar.finish()
      if output.json { Console.output(Self.json(found)) } else { Self.show(found) }
      if !found.faults.isEmpty { throw ExitCode(ExitStatus.badInput.rawValue) }
    }

    private static func show(_ found: StoreExamination) {
      for fault in found.faults {
        let documents =
          fault.documents.isEmpty ? "" : "; needed by " + fault.documents.map { "\"\($0)\"" }.joined(separator: ", ")
        Console.output("\(fault.kind.rawValue)\t\(fault.refusal)\(documents)")
      }
      let quarantine =
        found.quarantinedFileCount > 0 ? "; \(Format.count(found.quarantinedFileCount, "file")) in quarantine" : ""
      let verdict = found.faults.isEmpty ? "good" : Format.count(found.faults.count, "fault")
      Console.output(
        "\(found.path): \(verdict); \(Format.count(found.documentCount, "document")), "
          + "\(found.lostDocuments.count) lost, \(found.incompleteDocuments.count) incomplete; "
          + "\(Format.count(found.unreachableChunkCount, "chunk")) of \(Format.bytes(found.unreachableByteCount)) "
          + "that no document needs"
          + quarantine
          + (found.isBeingWritten ? "; a process is writing, so files that it has not named yet do not count" : ""))
    }

    private static func json(_ found: StoreExamination) -> JSONValue {
      .members([
        "path": .string(found.path), "ok": .boolean(found.faults.isEmpty),
        "generation": found.generation.map { .integer($0) }, "documents": .integer(found.documentCount),
        "faults": .array(
          found.faults.map { fault in
            .members([
              "kind": .string(fault.kind.rawValue), "name": .string(fault.refusal.name.text),
              "file": .string(fault.refusal.file),
              "structure": fault.refusal.structure.isEmpty ? nil : .string(fault.refusal.structure),
              "fault": .string(fault.refusal.fault), "chunk": fault.chunk.map { .string($0.description) },
              "documents": fault.documents.isEmpty ? nil : .array(fault.documents.map(JSONValue.string)),
            ])
          }),
        "lost_documents": .array(found.lostDocuments.map(JSONValue.string)),
        "incomplete_documents": StoreCommand.json(found.incompleteDocuments),
        "missing_chunks": .integer(found.missingChunkCount),
        "unreachable_chunks": .integer(found.unreachableChunkCount),
        "unreachable_bytes": .integer(found.unreachableByteCount),
        "quarantined_files": .integer(found.quarantinedFileCount), "being_written": .boolean(found.isBeingWritten),
      ])
    }
  }

  static func json(_ documents: [IncompleteDocument]) -> JSONValue {
    .array(
      documents.map {
        .members([
          "name": .string($0.name), "missing_chunks": .integer($0.missingCount), "chunks": .integer($0.chunkCount),
        ])
      })
  }

  /// Names documents that are not whole.
  static func show(lost: [String], incomplete: [IncompleteDocument] = []) {
    for name in lost { Console.output("lost\t\(name)") }
    for document in incomplete {
      Console.output("incomplete\t\(document.name)\t\(document.missingCount) of \(document.chunkCount) chunks missing")
    }
  }
}
