/// Where the bytes of an int8 or int4 matrix lie.
///
/// The matrix is cut into blocks of 16 rows, a block into groups of `groupSize` columns, a group into tiles of 64 bytes:
/// 16 rows × 4 columns of int8, or 16 rows × 8 columns of int4. The 16 scales of a group of int8 follow its tiles; the
/// 32 scales of a pair of groups of int4 stand before theirs.
/// Format: `Formats/packed-tile.md`.
public struct PackedTileLayout: Sendable, Hashable {
  /// The numbers in the tiles.
  public enum Element: Sendable, Hashable {
    case int8, int4

    /// Columns of a tile; a group has a multiple of them.
    public var tileColumns: Int { self == .int8 ? 4 : 8 }
    /// Groups whose scales stand together in 64 bytes.
    var groupsOfScales: Int { self == .int8 ? 1 : 2 }
  }

  public static let tileRows = 16
  /// Bytes of a tile, and of the scales that stand together.
  public static let tileByteCount = 64
  /// Larger groups could overflow the 32-bit sums: 127 · 255 · 4096 < 2^31.
  public static let groupSizes = 4...4096

  public let element: Element
  public let rows: Int
  public let columns: Int
  /// Columns that share a scale; a multiple of a tile's. The last group may be narrower.
  public let groupSize: Int

  /// - Returns: nil when the group size is not a multiple of a tile's columns in `groupSizes`, or a size is not positive
  ///   or does not fit.
  public init?(_ element: Element = .int8, rows: Int, columns: Int, groupSize: Int) {
    guard rows > 0, columns > 0, Self.groupSizes.contains(groupSize), groupSize % element.tileColumns == 0,
      rows <= 1 << 31, columns <= 1 << 28
    else { return nil }
    self.element = element
    self.rows = rows
    self.columns = columns
    self.groupSize = groupSize
    guard !rowBlockByteCount.multipliedReportingOverflow(by: rowBlockCount).overflow else { return nil }
  }

  public var rowBlockCount: Int { (rows + Self.tileRows - 1) / Self.tileRows }
  public var groupCount: Int { (columns + groupSize - 1) / groupSize }
  /// Bytes of all groups of 16 rows.
  public var rowBlockByteCount: Int {
    let tiles = (columns + element.tileColumns - 1) / element.tileColumns
    let scales = (groupCount + element.groupsOfScales - 1) / element.groupsOfScales
    return (tiles + scales) * Self.tileByteCount
  }
  public var byteCount: Int { rowBlockCount * rowBlockByteCount }
}
