extension JSONValue {
  /// U+FEFF in UTF-8, which some editors put before a text.
  static let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]

  /// Parses the contents of a file that people or their programs wrote: as strictly as `init(parsing:)`, but a byte
  /// order mark is skipped, and what is often there in place of the file is called by its name.
  public init(parsingFile text: [UInt8], depthLimit: Int = 32) throws(JSONError) {
    let start = text.starts(with: Self.byteOrderMark) ? Self.byteOrderMark.count : 0
    if let other = Self.otherContent(of: text[start...]) { throw JSONError(at: 0, in: text, other) }
    var parser = JSONParser(text: text, depthLimit: depthLimit)
    parser.offset = start
    self = try parser.document()
  }

  /// What a file is that is no JSON at all, in words; nil for one that may be.
  private static func otherContent(of text: ArraySlice<UInt8>) -> String? {
    if text.isEmpty { return "the file is empty" }
    if text.starts(with: [0xFF, 0xFE]) || text.starts(with: [0xFE, 0xFF]) || text.prefix(2).contains(0) {
      return "the file is in UTF-16 or UTF-32; JSON is UTF-8"
    }
    if text.starts(with: "version https://git-lfs.github.com/spec/".utf8) {
      return "this is a Git LFS pointer, not the file: `git lfs pull` fetches that"
    }
    let spaces: Set<UInt8> = [0x20, 0x0A, 0x0D, 0x09]
    if text.first(where: { !spaces.contains($0) }) == UInt8(ascii: "<") {
      return "this is an HTML or XML page, not the file: the download was refused or redirected"
    }
    return nil
  }
}
