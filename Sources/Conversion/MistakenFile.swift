public import FileAccess

/// What a file is that stands where something else should: clones and downloads leave such files.
enum MistakenFile {
  /// A few lines in place of a file that Git keeps elsewhere.
  case gitLFSPointer
  /// A page that a server sent instead of a file, to log in for example.
  case htmlPage

  /// Bytes that are enough to recognise one.
  static let beginningByteCount = 256

  /// - Parameter beginning: the first bytes of the file.
  /// - Returns: nil for anything else.
  init?(_ beginning: some Collection<UInt8>) {
    func starts(_ bytes: some Sequence<UInt8>, with text: String) -> Bool {
      bytes.starts(with: text.utf8) { $0 | 0x20 == $1 | 0x20 }
    }
    let text = beginning.drop { $0 == 0x20 || 0x09...0x0D ~= $0 || [0xEF, 0xBB, 0xBF].contains($0) }
    if starts(beginning, with: "version https://git-lfs") {
      self = .gitLFSPointer
    } else if starts(text, with: "<!doctype html") || starts(text, with: "<html") {
      self = .htmlPage
    } else {
      return nil
    }
  }

  /// - Parameter expected: what the file should be, such as `the weights`.
  func refusal(file: String, insteadOf expected: String) -> Refusal {
    let fault =
      switch self {
      case .gitLFSPointer: "is a Git LFS pointer, not \(expected): fetch the file with `git lfs pull`"
      case .htmlPage: "is an HTML page, not \(expected): download the file again"
      }
    return Refusal(.mistakenFile, file: file, fault)
  }
}

extension Refusal.Name {
  /// A pointer or a page in place of a file.
  public static let mistakenFile = Refusal.Name("mistaken-file", .badInput)
}
