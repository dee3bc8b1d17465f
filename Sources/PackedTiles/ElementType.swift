public import CKernels

/// Type of the elements of a matrix or an array.
public enum ElementType: String, Sendable, Hashable, CaseIterable {
  case float32, float16, bfloat16
  /// In packed tiles.
  case int8, int4

  public var bitCount: Int {
    switch self {
    case .float32: 32
    case .float16, .bfloat16: 16
    case .int8: 8
    case .int4: 4
    }
  }

  /// Bytes of an element; two of int4 share one, and have none of their own.
  public var byteCount: Int { bitCount / 8 }

  /// The kernels' name for it.
  public var kernelElement: sp_element {
    switch self {
    case .float32: SP_FLOAT32
    case .float16: SP_FLOAT16
    case .bfloat16: SP_BFLOAT16
    case .int8: SP_INT8
    case .int4: SP_INT4
    }
  }
}
